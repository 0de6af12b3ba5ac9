// Makes a tree of elements real. Texts become text nodes; tags and attributes are of a fixed few; the only links are
// places of this app. Whatever a record says, it can't become markup here.
const TAGS = new Set(("a b button code details div h1 h2 h3 header kbd nav p pre section small span summary table tbody " +
  "td th thead tr").split(" "));
const DRAWN = new Set("svg g path line rect circle text title polyline".split(" "));
const PLAIN = new Set("title id colspan open role tabindex".split(" "));
const SHAPE = new Set(("viewBox d x y x1 x2 y1 y2 cx cy r rx width height points preserveAspectRatio text-anchor " +
  "vector-effect").split(" "));

function make(node, send) {
  if (typeof node === "string") return document.createTextNode(node);
  const [what, given, ...children] = node;
  const [tag, ...classes] = what.split(".");
  const drawn = DRAWN.has(tag);
  if (!drawn && !TAGS.has(tag)) throw new Error("unknown element " + tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const name of classes) element.classList.add("rlm-" + name);
  for (const [name, value] of Object.entries(given)) {
    if (PLAIN.has(name) || (drawn && SHAPE.has(name))) element.setAttribute(name, value === true ? "" : String(value));
    else if (name === "bar") element.style.setProperty("--bar", String(Number(value)));
    else if (name === "inset") element.style.setProperty("--inset", String(Number(value)));
    else if (name === "keys") element.dataset.rlmKeys = value;
    else if (name === "href" && tag === "a") element.setAttribute("href", "?" + String(value).replace(/^\?/, ""));
  }
  if (given.go !== undefined || given.act !== undefined) listen(element, given, send);
  for (const child of children) element.append(make(child, send));
  return element;
}

function listen(element, given, send) {
  element.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    if (!event.rlmKey && String(getSelection()).length && element.tagName === "TR") return;
    event.preventDefault();
    event.stopPropagation();
    if (given.go !== undefined) send("go", given.go);
    else send("act", given.act);
  });
}

function openOnes(root) {
  return new Map([...root.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
}

// Keys work wherever no text is being written: j, k and the like click the element that names them.
function onKey(event) {
  const at = event.composedPath()[0];
  const writing = at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName ?? "");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (writing) {
    if (event.key === "Escape") at.blur();
    return;
  }
  if (event.key === "/") {
    const field = document.querySelector('[data-testid="stTextInput"] input');
    if (field) { event.preventDefault(); field.focus(); field.select(); }
    return;
  }
  for (const each of document.querySelectorAll("[data-rlm-keys]")) {
    if (!each.dataset.rlmKeys.split(" ").includes(event.key)) continue;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (each.tagName === "DETAILS") each.open = !each.open;
    else { const click = new MouseEvent("click", {bubbles: true, cancelable: true}); click.rlmKey = true; each.dispatchEvent(click); }
    return;
  }
}

function render(component) {
  const { data, parentElement, setTriggerValue } = component;
  let root = parentElement.querySelector(":scope > .rlm-root");
  if (!root) {
    root = document.createElement("div");
    root.className = "rlm-root";
    parentElement.append(root);
  }
  const said = JSON.stringify(data);
  root.rlmSend = setTriggerValue;
  if (root.rlmSaid !== said) {
    root.rlmSaid = said;
    const open = openOnes(root);
    root.replaceChildren(make(data.tree, (name, value) => root.rlmSend(name, value)));
    for (const each of root.querySelectorAll("details[id]")) if (open.has(each.id)) each.open = open.get(each.id);
  }
  if (data.place !== undefined) {
    if (window.rlmPlace !== data.place) document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
    window.rlmPlace = data.place;
    document.title = data.title;
    document.removeEventListener("keydown", window.rlmOnKey, true);
    window.rlmOnKey = onKey;
    document.addEventListener("keydown", onKey, true);
  }
}

// The head of the page brings this script; whatever else is mounted waits for it (assets/stub.js).
globalThis.rlmReady ??= Promise.withResolvers();
globalThis.rlmReady.resolve(render);
export default render;
