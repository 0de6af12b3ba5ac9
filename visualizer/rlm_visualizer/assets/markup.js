// Makes a tree of elements real. Texts become text nodes; tags and attributes are of a fixed few; the only links are
// places of this app. Whatever a record says, it can't become markup here.
const TAGS = new Set(("a b button code details div h1 h2 h3 header img kbd nav p pre section small span summary table " +
  "tbody td th thead tr").split(" "));
const DRAWN = new Set("svg g path line rect circle text title polyline".split(" "));
const PLAIN = new Set("title id colspan open role tabindex".split(" "));
const SPOKEN = {label: "aria-label", current: "aria-current", expanded: "aria-expanded"};
const PICTURES = new Set("png jpeg gif webp".split(" "));
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
    else if (SPOKEN[name]) element.setAttribute(SPOKEN[name], String(value));
    else if (name === "picture" && tag === "img" && PICTURES.has(value)) {
      element.src = `data:image/${value};base64,${given.content}`;
      element.alt = given.title ?? "";
    }
    else if (name === "href" && tag === "a") element.setAttribute("href", "?" + String(value).replace(/^\?/, ""));
  }
  if (given.go !== undefined || given.act !== undefined) listen(element, given, send);
  if (given.copy !== undefined) element.addEventListener("click", () => copy(element, given.copy === "pre" ? beside(element) : given.copy));
  if (given.save !== undefined) element.addEventListener("click", () => keep(new TextEncoder().encode(beside(element))));
  if (given.keep !== undefined) element.addEventListener("click", () => keep(Uint8Array.from(atob(given.keep), (c) => c.charCodeAt(0))));
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

// The text that stands below some buttons.
function beside(button) { return button.closest("section").querySelector("pre")?.textContent ?? ""; }

function copy(button, text) {
  navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Not allowed"; });
}

// Whatever a file is, it leaves as bytes without a type: no browser opens it here.
function keep(bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], {type: "application/octet-stream"}));
  link.download = "rlm-download";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function openOnes(root) {
  return new Map([...root.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
}

// Keys work wherever no text is being written: j, k and the like click the element that names them. While a press leads
// elsewhere, further ones wait for the page that it leads to, so that none is lost.
const WAIT_MS = 3000;

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
  const named = byKey(event.key);
  if (!named) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  press(event.key);
}

function byKey(key) {
  return [...document.querySelectorAll("[data-rlm-keys]")].find((each) => each.dataset.rlmKeys.split(" ").includes(key));
}

function press(key) {
  const walk = (window.rlmWalk ??= {waiting: [], until: 0});
  if (performance.now() < walk.until) { walk.waiting.push(key); return; }
  const named = byKey(key);
  if (!named) return;
  if (named.tagName === "DETAILS") { named.open = !named.open; return; }
  const before = location.search;
  const click = new MouseEvent("click", {bubbles: true, cancelable: true});
  click.rlmKey = true;
  named.dispatchEvent(click);
  if (named.getAttribute("href") !== before) walk.until = performance.now() + WAIT_MS;
}

function arrived() {
  const walk = window.rlmWalk;
  if (!walk) return;
  walk.until = 0;
  const next = walk.waiting.shift();
  if (next !== undefined) press(next);
}

// What is selected in a list that scrolls is brought into it, without moving the page.
function reveal(list) {
  const chosen = list.querySelector(".rlm-on");
  if (!chosen) return;
  const top = chosen.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top + chosen.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
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
    const open = openOnes(root), tree = root.querySelector("nav[id]"), scrolled = tree?.scrollTop ?? 0;
    root.replaceChildren(make(data.tree, (name, value) => root.rlmSend(name, value)));
    for (const each of root.querySelectorAll("details[id]")) if (open.has(each.id)) each.open = open.get(each.id);
    const again = root.querySelector("nav[id]");
    if (again) { again.scrollTop = scrolled; reveal(again); }
  }
  if (data.place !== undefined) {
    const moved = window.rlmPlace !== data.place;
    if (moved) document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
    window.rlmPlace = data.place;
    document.title = data.title;
    document.removeEventListener("keydown", window.rlmOnKey, true);
    window.rlmOnKey = onKey;
    document.addEventListener("keydown", onKey, true);
    if (moved) arrived();
  }
}

// The head of the page brings this script; whatever else is mounted waits for it (assets/stub.js).
globalThis.rlmReady ??= Promise.withResolvers();
globalThis.rlmReady.resolve(render);
export default render;
