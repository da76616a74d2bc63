// What belongs on the SIM against what it reports: profiles with their state and marks, and the alarms that stand.

import { fill, byId, h, pill, show, since } from "./dom.js";
import * as format from "./format.js";

const TITLES = {
  active_profile: "Another profile is active",
  eid_changed: "Another card answers",
  profile_appeared: "A profile appeared",
  profile_vanished: "A profile vanished",
  test_profile: "A test profile is in use",
  journal_open: "A switch is open for too long",
  command_counter: "A command counter cannot be true",
  audit_trail: "The audit trail lacks an entry",
};

const DRIFT = new Set(["active_profile", "eid_changed", "profile_appeared", "profile_vanished"]);

export function drawAlarms(id, alarms, onAccept = null) {
  show(byId(id), alarms.length > 0);
  const first = alarms.find((alarm) => DRIFT.has(alarm.kind));
  const accept = () => h("button", { class: "button small", type: "button", onclick: onAccept, title: "What the SIM reports is what belongs there" }, "Accept as it is");
  const line = (alarm) =>
    h("li", { class: alarm.severity, "data-key": alarm.kind }, h("b", {}, TITLES[alarm.kind] ?? alarm.kind), h("span", {}, alarm.text), h("span", { class: "muted small-text" }, since(alarm.raised_us, format.ago)), alarm === first ? accept() : null);
  fill(byId(id), h("ul", { class: "alarms" }, alarms.map(line)));
}

// The marks behind a profile's name: what a person must know before a switch.
export function marks(profile, desired) {
  return [
    profile.profile_class === "operational" ? null : pill(profile.profile_class, profile.profile_class === "test" ? "bad plain" : "plain"),
    profile.fallback ? pill("Fallback", "info plain") : null,
    profile.rules.includes("disable_not_allowed") ? pill("May not be disabled", "warn plain") : null,
    desired && desired.iccid === profile.iccid && !profile.active ? pill("Should be active", "warn plain") : null,
    desired && !desired.profiles.includes(profile.iccid) ? pill("New", "warn plain") : null,
  ];
}

export function cardLine(inventory) {
  const parts = [
    inventory.eid ? ["EID ", h("span", { class: "mono" }, format.iccid(inventory.eid))] : [],
    inventory.os_version ? [`, system ${inventory.os_version}`] : [],
    [", read ", since(inventory.at_us, format.ago)],
  ];
  return inventory.eid ? h("p", { class: "muted small-text eid" }, parts.flat()) : null;
}
