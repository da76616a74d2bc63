// Numbers with their units, times relative to now. Units are those of SenML (RFC 8428, 12.1).

const NUMBER = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });
const WHOLE = new Intl.NumberFormat();
const UNIT_NAMES = { Cel: "°C", "%RH": "% RH", Ohm: "Ω", deg: "°", "m/s2": "m/s²", "W/m2": "W/m²", m3: "m³", m2: "m²", count: "", lon: "° lon", lat: "° lat", "beat/min": "bpm" };
const SCALED = new Set(["B", "B/s", "bit", "bit/s", "Hz", "W", "J", "Wh"]);
const PREFIXES = ["", "k", "M", "G", "T", "P"];

export function number(value) {
  if (Math.abs(value) >= 1e15 || (value !== 0 && Math.abs(value) < 1e-4)) return value.toPrecision(4);
  return Number.isInteger(value) || Math.abs(value) >= 1e4 ? WHOLE.format(Math.round(value)) : NUMBER.format(value);
}

export function unitName(unit) {
  if (!unit) return "";
  return unit in UNIT_NAMES ? UNIT_NAMES[unit] : unit;
}

// {text, unit} of one value; bytes and the like get k, M, G.
export function value(raw, unit) {
  if (typeof raw === "number") {
    if (unit === "/") return { text: NUMBER.format(raw * 100), unit: "%" };
    if (unit === "s" && Math.abs(raw) >= 120) return { text: duration(raw), unit: "" };
    if (SCALED.has(unit)) {
      const { factor, prefix } = scale(raw);
      return { text: new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 }).format(raw / factor), unit: prefix + unitName(unit) };
    }
    return { text: number(raw), unit: unitName(unit) };
  }
  if (typeof raw === "boolean") return { text: raw ? "true" : "false", unit: "" };
  if (typeof raw === "string") return { text: raw === "" ? "(empty)" : raw, unit: unitName(unit) };
  return { text: JSON.stringify(raw), unit: "" };
}

export function scale(raw) {
  let index = 0;
  for (let size = Math.abs(raw); size >= 1000 && index < PREFIXES.length - 1; size /= 1000) index += 1;
  return { factor: 1000 ** index, prefix: PREFIXES[index] };
}

export const isScaled = (unit) => SCALED.has(unit);

export function duration(seconds) {
  const s = Math.round(Math.abs(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 && s < 600 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function ago(tUs) {
  const seconds = (Date.now() - tUs / 1000) / 1000;
  if (seconds < -5) return `in ${duration(seconds)}`;
  if (seconds < 2) return "now";
  return `${duration(seconds)} ago`;
}

export const clock = (tUs) => new Date(tUs / 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function offset(us) {
  const s = us / 1e6;
  if (s < 0.0005) return "0 s";
  if (s < 1) return `+${Math.round(s * 1000)} ms`;
  return s < 60 ? `+${s.toFixed(1)} s` : `+${duration(s)}`;
}

// 8988 2110 0000 0000 025: read in groups, as printed on cards.
export const iccid = (digits) => digits.replace(/(.{4})(?=.)/g, "$1 ");
