// Small helpers to build the page. Text goes in as text nodes only, so nothing that a device sends can become markup.

export const byId = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
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

export function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
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
