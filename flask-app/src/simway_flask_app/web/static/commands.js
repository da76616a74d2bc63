// The last commands of a device, each with the way it went.

import { fill, byId, h, pill, since } from "./dom.js";
import * as format from "./format.js";

export const SHOWN = 5;
const WAYS = {
  switch: ["QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"],
  ping: ["QUEUED", "SENT", "RECEIVED", "EXECUTED"],
  audit: ["QUEUED", "SENT", "RECEIVED", "EXECUTED"],
};
const LABELS = { CONFIRMING: "Confirming", ROLLED_BACK: "Rolled back" };
const TONES = { VERIFIED: "ok", FAILED: "bad", ROLLED_BACK: "warn", EXPIRED: "warn", CANCELLED: "", UNKNOWN: "warn" };
const CANCELLABLE = new Set(["QUEUED", "SENT", "RECEIVED"]);

const label = (state) => LABELS[state] ?? state[0] + state.slice(1).toLowerCase();
const words = (text) => text.replaceAll("_", " ");
const goal = (command) => WAYS[command.kind].at(-1);

export const isOver = (command) => command.state === goal(command) || ["FAILED", "ROLLED_BACK", "EXPIRED", "CANCELLED"].includes(command.state);

function tone(command) {
  if (command.state === goal(command)) return "ok";
  return command.state in TONES ? TONES[command.state] : "info";
}

export function title(command, providerOf) {
  if (command.kind !== "switch") return command.kind === "ping" ? "Ping" : "Read SIM";
  return `Switch to ${command.target.provider || providerOf(command.target.iccid) || format.iccid(command.target.iccid)}`;
}

function steps(command) {
  const way = WAYS[command.kind];
  const reached = new Map();
  for (const entry of command.history ?? []) if (!reached.has(entry.state)) reached.set(entry.state, entry.t_us);
  const began = command.created_us;
  const at = way.indexOf(command.state);
  const off = at < 0;
  const last = off ? Math.max(0, ...way.map((state, index) => (reached.has(state) ? index : 0))) : at;
  const path = off ? [...way.slice(0, last + 1), command.state] : way;
  const step = (state, index) => {
    const isEnd = off && index === path.length - 1;
    const passed = index <= last && !isEnd;
    const running = index === last && !isOver(command) && !off;
    const t = reached.get(state) ?? (isEnd ? command.updated_us : undefined);
    return h("li", { class: `${passed ? "done" : ""} ${isEnd ? "bad" : ""} ${running ? "now" : ""}` }, label(state), t === undefined ? null : h("time", {}, index === 0 ? format.clock(t) : format.offset(t - began)));
  };
  return h("ol", { class: "steps", "aria-label": "States" }, path.map(step));
}

const WORDLESS = new Set(["generation", "iccid", "iccid_before", "iccid_after"]);

// What an entry brought that the one before did not have.
function evidence(entry, before) {
  const fresh = (name) => entry.evidence[name] !== undefined && entry.evidence[name] !== before?.evidence[name];
  const lines = [];
  if (fresh("iccid_after")) lines.push(`${format.iccid(entry.evidence.iccid_before ?? "?")} → ${format.iccid(entry.evidence.iccid_after)}`);
  for (const [name, value] of Object.entries(entry.evidence)) {
    if (!WORDLESS.has(name) && typeof value !== "object" && fresh(name)) lines.push(`${words(name)} ${value}`);
  }
  return lines.map((line) => h("div", { class: "evidence mono" }, line));
}

const proofOf = (command) => (command.history ?? []).map((entry) => entry.evidence.proof).findLast(Boolean);

function history(command) {
  const line = (entry, index) =>
    h("li", {}, h("time", {}, format.clock(entry.t_us)), h("div", {}, `${label(entry.state)}: ${words(entry.event)}`, entry.reason ? ` (${words(entry.reason)})` : "", h("span", { class: "muted" }, ` by ${entry.actor}`), evidence(entry, command.history[index - 1])));
  return h("details", { class: "history" }, h("summary", {}, `History, ${command.history.length} entries`), h("ol", {}, command.history.map(line)));
}

export class Commands {
  constructor({ onCancel, providerOf }) {
    this.byId = new Map();
    this.onCancel = onCancel;
    this.providerOf = providerOf;
  }

  clear() {
    this.byId.clear();
  }

  // Newer news win: a snapshot that was asked for earlier must not undo what the stream told since.
  put(command) {
    const known = this.byId.get(command.id);
    if (known && (known.history?.length ?? 0) > (command.history?.length ?? 0)) return;
    if (known?.sim_word && !command.sim_word) command.sim_word = known.sim_word; // the stream leaves it out
    this.byId.set(command.id, command);
  }

  all() {
    return [...this.byId.values()].sort((a, b) => b.created_us - a.created_us).slice(0, SHOWN);
  }

  // The ICCID that a switch under way goes to, or "".
  switchingTo() {
    return this.all().find((command) => command.kind === "switch" && !isOver(command) && command.state !== "UNKNOWN")?.target.iccid ?? "";
  }

  // The last switch, with its history.
  lastSwitch() {
    return [...this.byId.values()].filter((command) => command.kind === "switch").sort((a, b) => b.created_us - a.created_us)[0];
  }

  draw() {
    const shown = this.all();
    if (!shown.length) return fill(byId("commands-card"), h("p", { class: "muted" }, "None yet. Switch the carrier, read the SIM, or ping."));
    fill(byId("commands-card"), h("ol", { class: "commands" }, shown.map((command, index) => this.row(command, index === 0))));
  }

  row(command, isNewest) {
    return h(
      "li",
      { "data-key": command.id, "data-state": command.state },
      h("div", { class: "command-line" }, h("b", {}, title(command, this.providerOf)), pill(label(command.state), tone(command))),
      isNewest || !isOver(command) ? steps(command) : null,
      h(
        "div",
        { class: "command-meta muted" },
        since(command.created_us, format.ago),
        command.reason ? h("span", {}, words(command.reason)) : null,
        proofOf(command) ? h("span", { title: "What proves the switch: the new carrier carried the attach, or only the card was read" }, `proof: ${proofOf(command)}`) : null,
        CANCELLABLE.has(command.state) ? h("button", { class: "button quiet small", type: "button", disabled: command.cancel_requested_us !== null, onclick: () => this.onCancel(command) }, command.cancel_requested_us === null ? "Cancel" : "Cancelling…") : null,
      ),
      command.history?.length ? history(command) : null,
    );
  }
}
