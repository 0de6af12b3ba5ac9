const ready = (globalThis.rlmReady ??= Promise.withResolvers());
export default (component) => void ready.promise.then((render) => render(component));
