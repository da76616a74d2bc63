// The way of the last switch as a picture: its states on a line with their times, the way back below it, and what proves the end.

import { fill, h, pill, show, byId, svg } from "./dom.js";
import * as format from "./format.js";

const WAY = ["QUEUED", "SENT", "RECEIVED", "EXECUTED", "CONFIRMING", "VERIFIED"];
const LABELS = { CONFIRMING: "Confirming", ROLLED_BACK: "Rolled back" };
const TONES = { VERIFIED: "ok", FAILED: "bad", ROLLED_BACK: "warn", EXPIRED: "warn", CANCELLED: "warn", UNKNOWN: "warn" };
const WIDTH = 760;
const STEP = (WIDTH - 100) / (WAY.length - 1);
const LINE_Y = 56;
const OFF_Y = 98;

const label = (state) => LABELS[state] ?? state[0] + state.slice(1).toLowerCase();
const x = (index) => 50 + index * STEP;

// When each state was first reached, and how far along the way that is.
function reached(command) {
  const times = new Map();
  for (const entry of command.history ?? []) if (!times.has(entry.state)) times.set(entry.state, entry.t_us);
  const last = Math.max(0, ...WAY.map((state, index) => (times.has(state) ? index : 0)));
  return { times, last };
}

function station(index, state, tUs, began, tone) {
  const y = LINE_Y;
  const time = tUs === undefined ? "" : index === 0 ? format.clock(tUs) : format.offset(tUs - began);
  return svg(
    "g",
    { class: `station ${tone}`, "data-state": state },
    svg("circle", { cx: x(index), cy: y, r: 8 }),
    svg("text", { x: x(index), y: y - 34, class: "name" }, label(state)),
    svg("text", { x: x(index), y: y - 18, class: "time" }, time),
  );
}

function picture(command) {
  const { times, last } = reached(command);
  const began = command.created_us;
  const off = WAY.includes(command.state) ? null : command.state;
  const track = (from, to, tone) => svg("line", { x1: x(from), y1: LINE_Y, x2: x(to), y2: LINE_Y, class: `track ${tone}` });
  const parts = [track(0, WAY.length - 1, ""), track(0, last, "done")];
  WAY.forEach((state, index) => {
    const tone = state === command.state ? (TONES[state] ?? "now") : index <= last ? "done" : "";
    parts.push(station(index, state, times.get(state), began, tone));
  });
  if (off) {
    parts.splice(2, 0, svg("path", { d: `M ${x(last)} ${LINE_Y} V ${OFF_Y}`, class: `track ${TONES[off]}` }));
    const beside = svg("g", { class: `station ${TONES[off]}`, "data-state": off }, svg("circle", { cx: x(last), cy: OFF_Y, r: 8 }));
    const text = `${label(off)} ${format.offset((times.get(off) ?? command.updated_us) - began)}`;
    const right = last < WAY.length - 2;
    beside.append(svg("text", { x: x(last) + (right ? 16 : -16), y: OFF_Y + 5, class: right ? "name right" : "name left" }, text));
    parts.push(beside);
  }
  const height = (off ? OFF_Y : LINE_Y) + 14;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "way", role: "img", "aria-label": `Switch: ${label(command.state)}` }, parts);
}

// The newest evidence that speaks of each thing: RESULT brings it, VERIFIED repeats its proof.
function told(command, name) {
  return (command.history ?? []).map((entry) => entry.evidence[name]).findLast((value) => value !== undefined && value !== "");
}

function registration(found) {
  const signal = [
    typeof found.rsrp_dbm === "number" ? `RSRP ${found.rsrp_dbm} dBm` : "",
    typeof found.rsrq_db === "number" ? `RSRQ ${found.rsrq_db} dB` : "",
  ];
  return [found.state, found.plmn ? `PLMN ${found.plmn}` : "", found.rat, ...signal, found.data === false ? "no data" : "", found.cause]
    .filter((text) => typeof text === "string" && text !== "")
    .map((text) => text.replaceAll("_", " "))
    .join(" · ");
}

function timings(found) {
  const steps = Object.entries(found).filter(([, ms]) => typeof ms === "number");
  return steps.map(([name, ms]) => `${name.replaceAll("_", " ")} ${format.duration(ms / 1000) === "0 s" ? `${Math.round(ms)} ms` : format.duration(ms / 1000)}`).join(" · ");
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function facts(command, nameOf) {
  const rows = [];
  const add = (name, ...value) => rows.push(h("dt", {}, name), h("dd", {}, ...value));
  const [from, to] = [told(command, "iccid_before"), told(command, "iccid_after")];
  if (from && to) add("Card", `${nameOf(from)} → ${nameOf(to)}`);
  const radio = told(command, "registration");
  if (isObject(radio)) add("Registration", registration(radio) || "not told");
  const proof = ["EXECUTED", "CONFIRMING", "VERIFIED"].includes(command.state) && told(command, "proof");
  if (proof) add("Proof", proof === "bearer" ? "the new carrier carried the attach" : "only the card was read");
  const word = command.sim_word;
  if (word) add("The SIM says", `change ${word.n}: ${word.iccid ? nameOf(word.iccid) : "none enabled"} `, pill(word.verified ? "verified" : "not verified", word.verified ? "ok" : "bad"));
  const spent = told(command, "timings_ms");
  if (isObject(spent) && timings(spent)) add("Time spent", timings(spent));
  if (command.reason) add("Reason", command.reason.replaceAll("_", " "));
  if (command.forced) add("Forced", command.force_reason);
  return h("dl", { class: "facts way-facts" }, rows);
}

export function drawWay(command, nameOf) {
  show(byId("way"), Boolean(command));
  if (!command) return;
  const goal = command.target.provider || nameOf(command.target.iccid);
  const flags = command.test_profile ? pill("Test profile", "bad") : null;
  fill(byId("way-card"), h("p", { class: "way-head" }, h("b", {}, `To ${goal}`), h("span", { class: "muted small-text" }, ` by ${command.actor}`), flags), h("div", { class: "way-scroll" }, picture(command)), facts(command, nameOf));
}
