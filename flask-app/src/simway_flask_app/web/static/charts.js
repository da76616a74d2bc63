// One line chart for each sensor, drawn by plotly.js, which is loaded once when the first chart is needed.

import { isScaled, scale, unitName } from "./format.js";

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
let plotly = null;

// Begins to load plotly.js, or gives it once it is there.
export function load() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.querySelector("script[data-plotly]").dataset.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js could not be loaded"));
    document.head.append(script);
  });
  return plotly;
}

// Plotly draws times as UTC; shifted by the zone's offset they read as local time.
const local = (tUs) => tUs / 1000 - new Date(tUs / 1000).getTimezoneOffset() * 60000;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  // isSwitch: its values are booleans.
  constructor(node, { unit, isSwitch, rangeS }) {
    this.node = node;
    this.unit = unit;
    this.isSwitch = isSwitch;
    this.rangeS = rangeS;
    this.points = new Map();
    this.visible = false;
    this.observer = new IntersectionObserver((entries) => {
      this.visible = entries.at(-1).isIntersecting;
      if (this.visible) this.draw();
    });
    this.observer.observe(node);
  }

  // Readings may come late, twice or out of order: a point is known by its time.
  add(readings) {
    for (const reading of readings) {
      if (typeof reading.value === "number" || typeof reading.value === "boolean") this.points.set(reading.t_us, Number(reading.value));
    }  }

  setRange(rangeS) {
    this.rangeS = rangeS;
    this.points.clear();
  }

  async draw() {
    if (this.drawing || (this.drawn && !this.visible)) return;
    this.drawing = true;
    try {
      const Plotly = await load();
      if (this.node.isConnected) await Plotly.react(this.node, [this.trace()], this.layout(), CONFIG);
      this.drawn = true;
    } finally {
      this.drawing = false;
    }
  }

  get tickSuffix() {
    if (this.unit === "/") return "%";
    return isScaled(this.unit) ? scale(this.factor).prefix : "";
  }

  trace() {
    const oldest = Date.now() * 1000 - this.rangeS * 1.1e6;
    for (const tUs of this.points.keys()) if (tUs < oldest) this.points.delete(tUs);
    const times = [...this.points.keys()].sort((a, b) => a - b);
    const values = times.map((tUs) => this.points.get(tUs));
    const factor = this.unit === "/" ? 0.01 : isScaled(this.unit) ? scale(Math.max(0, ...values.map(Math.abs))).factor : 1;
    this.factor = factor;
    return {
      x: times.map(local),
      y: factor === 1 ? values : values.map((value) => value / factor),
      type: "scatter",
      mode: times.length < 3 ? "lines+markers" : "lines",
      line: { color: css("--accent"), width: 1.8, shape: this.isSwitch ? "hv" : "linear" },
      marker: { size: 5 },
      hovertemplate: `%{y:.6~g} ${this.unitLabel()}<br>%{x|%H:%M:%S}<extra></extra>`,
    };
  }

  unitLabel() {
    if (this.unit === "/") return "%";
    return this.tickSuffix + unitName(this.unit);
  }

  layout() {
    const now = local(Date.now() * 1000);
    const muted = css("--muted");
    const line = css("--line");
    const axis = { color: muted, gridcolor: line, linecolor: line, zeroline: false, fixedrange: true, tickfont: { size: 10 } };
    return {
      height: 132,
      margin: { l: 50, r: 10, t: 6, b: 22 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false,
      dragmode: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: css("--card"), bordercolor: line, font: { color: css("--text"), size: 12 } },
      xaxis: { ...axis, type: "date", range: [now - this.rangeS * 1000, now], nticks: 5, tickformat: this.rangeS > 600 ? "%H:%M" : "%H:%M:%S", showgrid: false },
      yaxis: this.isSwitch ? { ...axis, range: [-0.15, 1.15], tickvals: [0, 1], ticktext: ["false", "true"] } : { ...axis, nticks: 4, exponentformat: "none", ticksuffix: this.tickSuffix },
    };
  }

  close() {
    this.observer.disconnect();
    if (window.Plotly) window.Plotly.purge(this.node);
  }
}
