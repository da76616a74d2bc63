// A card for each sensor: its newest value, how old that is, and a line of the chosen range.

import * as api from "./api.js";
import { Chart } from "./charts.js";
import { byId, fill, h, since } from "./dom.js";
import * as format from "./format.js";

export const RANGES = [
  { label: "5 min", s: 300 },
  { label: "15 min", s: 900 },
  { label: "1 h", s: 3600 },
];
const HISTORY_LIMIT = 5000;
const LOADS_AT_ONCE = 4;
const STALE_US = 120e6;

class SensorCard {
  constructor(reading, rangeS) {
    this.name = reading.sensor;
    this.age = h("time", {});
    this.value = h("div", { class: "sensor-value" });
    const charted = typeof reading.value === "number" || typeof reading.value === "boolean";
    this.area = charted ? h("div", { class: "chart" }) : h("div", { class: "chart-note" }, "Text: there is no line to draw.");
    this.node = h("article", { class: "card sensor", "data-sensor": this.name }, h("div", { class: "sensor-head" }, h("h3", { title: this.name }, this.name), this.age), this.value, this.area);
    this.chart = charted ? new Chart(this.area, { unit: reading.unit, isSwitch: typeof reading.value === "boolean", rangeS }) : null;
    this.update(reading);
  }

  update(reading) {
    this.chart?.add([reading]);
    if (this.newest && reading.t_us < this.newest.t_us) return;
    this.newest = reading;
    const shown = format.value(reading.value, reading.unit);
    const isText = typeof reading.value === "string" || typeof reading.value === "object";
    this.value.className = isText ? "sensor-value text" : "sensor-value";
    fill(this.value, shown.text, shown.unit ? h("small", {}, shown.unit) : null);
    const age = since(reading.t_us, format.ago);
    this.age.replaceWith(age);
    this.age = age;
    this.tick();
  }

  tick() {
    this.node.classList.toggle("stale", Date.now() * 1000 - this.newest.t_us > STALE_US);
  }

  close() {
    this.chart?.close();
    this.node.remove();
  }
}

export class Sensors {
  constructor(onError) {
    this.cards = new Map();
    this.rangeS = RANGES[0].s;
    this.onError = onError;
    this.drawRanges();
    byId("sensor-filter").addEventListener("input", () => this.filter());
  }

  drawRanges() {
    const button = (range) => h("button", { type: "button", "aria-pressed": String(range.s === this.rangeS), onclick: () => this.setRange(range.s) }, range.label);
    fill(byId("ranges"), RANGES.map(button));
  }

  setRange(rangeS) {
    this.rangeS = rangeS;
    this.drawRanges();
    for (const card of this.cards.values()) card.chart?.setRange(rangeS);
    this.loadHistory([...this.cards.values()]);
  }

  // From now on it is this device whose readings come.
  follow(device) {
    this.clear();
    this.device = device;
  }

  // What was before the stream opened, or while it was interrupted.
  async load() {
    const known = new Set(this.cards.keys());
    const device = this.device;
    const readings = await api.getLatest(device);
    if (device !== this.device) return;
    this.apply(readings);
    const again = [...this.cards.values()].filter((card) => known.has(card.name));
    await this.loadHistory(again);
  }

  apply(readings) {
    const fresh = [];
    for (const reading of readings) {
      const card = this.cards.get(reading.sensor);
      if (card) card.update(reading);
      else fresh.push(this.addCard(reading));
    }
    if (fresh.length) {
      this.filter();
      this.loadHistory(fresh);
    }
    this.describe();
  }

  addCard(reading) {
    const card = new SensorCard(reading, this.rangeS);
    this.cards.set(card.name, card);
    const after = [...this.cards.keys()].sort().indexOf(card.name);
    byId("sensors").insertBefore(card.node, byId("sensors").querySelectorAll(".sensor")[after] ?? null);
    return card;
  }

  async loadHistory(cards) {
    const device = this.device;
    const waiting = cards.filter((card) => card.chart);
    const fromUs = Math.floor((Date.now() - this.rangeS * 1000) * 1000);
    const next = async () => {
      for (let card = waiting.shift(); card && device === this.device; card = waiting.shift()) {
        card.chart.add(await api.getHistory(device, card.name, fromUs, HISTORY_LIMIT));
        card.chart.draw();
      }
    };
    try {
      await Promise.all(Array.from({ length: LOADS_AT_ONCE }, next));
    } catch (error) {
      this.onError("Older readings could not be loaded", error);
    }
  }

  filter() {
    const wanted = byId("sensor-filter").value.trim().toLowerCase();
    for (const card of this.cards.values()) card.node.hidden = !card.name.toLowerCase().includes(wanted);
  }

  describe() {
    const count = this.cards.size;
    byId("sensor-count").textContent = count === 0 ? "No reading yet" : count === 1 ? "1 sensor" : `${count} sensors`;
  }

  tick() {
    for (const card of this.cards.values()) {
      card.tick();
      card.chart?.draw();
    }
  }

  clear() {
    for (const card of this.cards.values()) card.close();
    this.cards.clear();
    this.describe();
  }
}
