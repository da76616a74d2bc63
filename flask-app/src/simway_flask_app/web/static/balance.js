// The loss ledger of the device: what became of every reading that it numbered. The parts always add up to what was sent.

import { h, pill, svg } from "./dom.js";
import * as format from "./format.js";

const PARTS = [
  ["stored", "stored", "ok", "came for the first time, and is in the store"],
  ["duplicate", "duplicate", "plain", "the same sensor, time and value under another number"],
  ["conflict", "in conflict", "warn", "another value of this sensor and time was stored first; dead letters have it"],
  ["rejected", "rejected", "warn", "refused for good; dead letters have it"],
  ["dropped", "dropped", "bad", "given up by the device's full outbox, as it says itself"],
  ["missing", "missing", "bad", "a later number came, this one did not: it may still come"],
];
const RANGES_SHOWN = 5;
const WIDTH = 300;

export function drawBalance(loss) {
  const counts = { ...loss, rejected: Object.values(loss.rejected).reduce((sum, count) => sum + count, 0) };
  const lost = counts.missing + counts.dropped;
  const number = (label, count, tone = "") => h("div", {}, h("b", { class: tone }, format.number(count)), h("span", { class: "muted small-text" }, label));
  return h(
    "div",
    { class: "loss", "aria-label": "Loss ledger" },
    h("div", { class: "balance" }, number("sent", counts.sent), number("stored", counts.stored), number("lost", lost, lost ? "bad-number" : "")),
    counts.sent ? bar(counts) : null,
    unfolded(loss, counts),
  );
}

// Each part has at least a pixel: one lost reading of a million is to be seen.
function bar(counts) {
  const parts = PARTS.filter(([name]) => counts[name] > 0);
  const widths = parts.map(([name]) => Math.max(1.5, (counts[name] / counts.sent) * WIDTH));
  const factor = WIDTH / widths.reduce((sum, width) => sum + width, 0);
  let x = 0;
  const drawn = parts.map(([name, , tone], index) => {
    const width = widths[index] * factor;
    x += width;
    return svg("rect", { x: x - width, y: 0, width, height: 6, class: tone, "data-part": name });
  });
  return svg("svg", { class: "shares", viewBox: `0 0 ${WIDTH} 6`, preserveAspectRatio: "none", "aria-hidden": "true" }, drawn);
}

function unfolded(loss, counts) {
  const line = (label, count, title) => [h("dt", { title }, label), h("dd", {}, format.number(count))];
  const lines = PARTS.filter(([name]) => name === "stored" || counts[name] > 0).flatMap(([name, label, , title]) => line(label, counts[name], title));
  const reasons = Object.entries(loss.rejected).map(([reason, count]) => `${reason.replaceAll("_", " ")}: ${format.number(count)}`);
  const ranges = loss.missing_ranges.slice(-RANGES_SHOWN).map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`));
  const more = loss.missing_ranges.length - ranges.length;
  return h(
    "details",
    { class: "history" },
    h("summary", {}, loss.balanced ? "It adds up" : pill("It does not add up", "bad"), loss.redelivered ? `, ${format.number(loss.redelivered)} delivered again` : ""),
    h("dl", { class: "facts" }, lines),
    reasons.length ? h("p", { class: "muted" }, `Rejected: ${reasons.join(", ")}`) : null,
    ranges.length ? h("p", { class: "muted" }, `Missing: ${ranges.join(", ")}${more ? ` and ${more} earlier ranges` : ""}`) : null,
    h("p", { class: "muted" }, "What waits in the device's outbox is not among them, unless a later reading came."),
  );
}
