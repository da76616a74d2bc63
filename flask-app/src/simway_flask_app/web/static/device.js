// The device's card and the carrier's card.

import { drawBalance } from "./balance.js";
import { fill, byId, h, pill, since } from "./dom.js";
import * as format from "./format.js";
import { cardLine, marks } from "./twin.js";

const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

function presence(device) {
  if (device.status === "revoked") return pill("Revoked", "bad");
  if (!device.session) return pill("Never attached", "warn");
  return device.session.attached ? pill("Attached", "ok") : pill("Detached", "warn");
}

export function drawDevice(device, loss) {
  const session = device.session;
  const facts = [
    ...(session ? fact(session.attached ? "Attached" : "Detached", since(session.attached ? session.attached_us : session.detached_us, format.ago)) : []),
    ...fact("Last reading", device.last_reading_us === null ? "none yet" : since(device.last_reading_us, format.ago)),
    ...(session ? fact("Gateway", session.gateway, session.address ? h("span", { class: "muted" }, ` from ${session.address}`) : "") : []),
    ...(session ? fact("Boot counter", format.number(session.boot_counter)) : []),
    ...fact("Key version", String(device.key_version)),
  ];
  fill(
    byId("device-card"),
    h("div", { class: "headline" }, h("strong", {}, device.name || device.id), presence(device)),
    device.name && device.name !== device.id ? h("p", { class: "muted mono small-text sub" }, device.id) : null,
    h("dl", { class: "facts" }, facts),
    loss ? drawBalance(loss) : null,
  );
}

export function drawCarrier(device, desired, switching, onSwitch) {
  const carrier = device.active_carrier;
  const inventory = device.inventory;
  const name = carrier ? carrier.provider || carrier.name || "Unknown carrier" : "Not known yet";
  fill(
    byId("carrier-card"),
    h("div", { class: "headline" }, h("strong", { id: "active-carrier" }, name), carrier ? pill("Active", "ok") : pill("Waiting for the first attach", "warn")),
    carrier ? h("p", { class: "muted small-text" }, h("span", { class: "mono iccid", id: "active-iccid" }, format.iccid(carrier.iccid)), " since ", since(carrier.at_us, format.ago)) : null,
    inventory ? profiles(device, desired, switching, onSwitch) : h("p", { class: "muted small-text" }, "The device has not told what its SIM holds."),
    inventory ? cardLine(inventory) : null,
  );
}

function profiles(device, desired, switching, onSwitch) {
  const row = (profile) =>
    h(
      "li",
      { "data-key": profile.iccid, "data-state": profile.state },
      h("div", { class: "profile-name" }, h("b", {}, profile.provider || profile.nickname || profile.name || "Unnamed profile"), h("span", { class: "muted mono iccid" }, format.iccid(profile.iccid)), h("span", { class: "marks" }, marks(profile, desired))),
      profile.active
        ? pill("In use", "ok plain")
        : h("button", { class: "button small", type: "button", disabled: switching || device.status !== "active", onclick: () => onSwitch(profile), "aria-label": `Switch to ${profile.provider || profile.iccid}` }, switching === profile.iccid ? "Switching…" : "Switch"),
    );
  return h("ul", { class: "profiles" }, device.inventory.profiles.map(row));
}
