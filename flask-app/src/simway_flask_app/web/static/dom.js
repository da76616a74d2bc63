// Small helpers to build the page. Text goes in as text nodes only, so nothing that a device sends can become markup.

export const byId = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") node.onclick = value;
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// The same for drawings.
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

// Makes these the children of `node`, and changes what is there rather than replacing it: a card is drawn anew with every
// reading, and meanwhile somebody presses its button, has the focus in it, selects its text or has unfolded a part of it.
// A child with `data-key` stays the same node wherever it moves.
export function fill(node, ...children) {
  const wanted = document.createDocumentFragment();
  wanted.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  turnInto(node, wanted);
}

const keyOf = (node) => node?.dataset?.key;
const isSameKind = (node, wanted) => node?.nodeName === wanted.nodeName && keyOf(node) === keyOf(wanted);

function turnInto(node, wanted) {
  const keyed = new Map([...(node.children ?? [])].map((child) => [keyOf(child), child]));
  let next = node.firstChild;
  for (const child of [...wanted.childNodes]) {
    const known = keyOf(child) === undefined ? next : keyed.get(keyOf(child));
    if (!isSameKind(known, child)) {
      node.insertBefore(child, next);
      continue;
    }
    if (known === next) next = next.nextSibling;
    else node.insertBefore(known, next);
    change(known, child);
  }
  while (next) {
    const last = next;
    next = next.nextSibling;
    last.remove();
  }
}

function change(node, wanted) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  for (const { name } of [...node.attributes]) if (!wanted.hasAttribute(name) && !(node.nodeName === "DETAILS" && name === "open")) node.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  node.onclick = wanted.onclick;
  turnInto(node, wanted);
}

export function show(node, visible) {
  node.hidden = !visible;
}

export function pill(text, tone = "") {
  return h("span", { class: `pill ${tone}` }, text);
}

// A time that keeps itself up to date: every element with data-since is rewritten by tickTimes().
export function since(tUs, describe) {
  const node = h("time", { "data-since": tUs, datetime: new Date(tUs / 1000).toISOString(), title: new Date(tUs / 1000).toLocaleString() });
  node.textContent = describe(tUs);
  return node;
}

const TOAST_MS = 8000;

export function toast(text, tone = "", detail = "") {
  const close = h("button", { type: "button", "aria-label": "Dismiss", onclick: () => box.remove() }, "✕");
  const box = h("div", { class: `toast ${tone}` }, h("div", {}, h("strong", {}, text), detail ? h("p", { class: "muted small-text" }, detail) : null), close);
  byId("toasts").append(box);
  setTimeout(() => box.remove(), TOAST_MS);
}

// Resolves with false, with true, or, where a reason is asked for, with the reason.
export function confirmDialog({ title, body, yes, asksReason = false }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  fill(byId("confirm-body"), body);
  byId("confirm-yes").textContent = yes;
  const reason = byId("confirm-reason-text");
  show(byId("confirm-reason"), asksReason);
  reason.value = "";
  reason.required = asksReason;
  dialog.returnValue = "no";
  dialog.showModal();
  const answer = () => (dialog.returnValue === "yes" ? (asksReason ? reason.value.trim() : true) : false);
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(answer()), { once: true }));
}
