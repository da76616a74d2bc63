// The console: sign in, choose a device, follow it live.

import * as api from "./api.js";
import { load as loadCharts } from "./charts.js";
import { Commands, SHOWN, title } from "./commands.js";
import { drawCarrier, drawDevice } from "./device.js";
import { byId, confirmDialog, fill, h, show, toast } from "./dom.js";
import * as format from "./format.js";
import { Live } from "./live.js";
import { Sensors } from "./sensors.js";
import { drawAlarms } from "./twin.js";
import { drawWay } from "./way.js";

const LOSS_EVERY_MS = 5000;
const DEVICES_EVERY_MS = 15000;
const MORE = ""; // no device has this id
const STORAGE = { device: "simway.device", theme: "simway.theme" };

const state = { devices: [], device: null, sim: null, loss: null, live: null, told: 0, timers: [], pages: 1 };
const providerOf = (iccid) => state.device?.inventory?.profiles.find((profile) => profile.iccid === iccid)?.provider ?? "";
const nameOf = (iccid) => providerOf(iccid) || format.iccid(iccid);
const failed = (what, error) => error.status !== 401 && toast(what, "bad", error.message);
const commands = new Commands({ onCancel: cancel, providerOf });
const sensors = new Sensors(failed);

// --- signing in and out ---

function showSignIn(message = "") {
  leave();
  show(byId("console"), false);
  show(byId("sign-in"), true);
  byId("sign-in-error").textContent = message;
  show(byId("sign-in-error"), message !== "");
  byId("token").focus();
}

async function submitToken(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    await api.signIn(byId("token").value.trim());
    byId("token").value = "";
    await enter();
  } catch (error) {
    showSignIn(error.message);
  } finally {
    button.disabled = false;
  }
}

async function enter() {
  await loadDevices();
  show(byId("sign-in"), false);
  show(byId("console"), true);
  state.timers = [
    setInterval(tick, 1000),
    setInterval(() => loadLoss().catch(() => {}), LOSS_EVERY_MS),
    setInterval(() => loadDevices().catch(() => {}), DEVICES_EVERY_MS),
  ];
}

function leave() {
  state.timers.forEach(clearInterval);
  state.live?.close();
  Object.assign(state, { live: null, device: null, sim: null, loss: null, timers: [] });
  sensors.clear();
}

// --- devices ---

async function loadDevices() {
  const wantedId = state.device?.id ?? localStorage.getItem(STORAGE.device);
  const [platformAlarms, page] = await Promise.all([api.getPlatformAlarms(), api.getDevices(state.pages)]);
  drawAlarms("platform-alarms", platformAlarms);
  state.devices = page.devices;
  if (wantedId && !state.devices.some((device) => device.id === wantedId)) {
    const wanted = await api.getDevice(wantedId).catch(() => null); // it is on a later page, or gone
    if (wanted) state.devices.push(wanted);
  }
  const label = (device) => (device.name && device.name !== device.id ? `${device.name} (${device.id})` : device.id) + (device.alarms.length ? " ⚠" : "");
  const options = state.devices.map((device) => h("option", { value: device.id }, label(device)));
  if (page.more) options.push(h("option", { value: MORE }, "More devices…"));
  const select = byId("device-select");
  const names = state.devices.map((device) => device.id);
  const shown = (list) => list.map((option) => `${option.value} ${option.textContent}`).join("\n");
  if (shown(options) !== shown([...select.options])) {
    fill(select, options);
    if (state.device) select.value = state.device.id;
  }
  if (state.device) drawCards();
  show(byId("no-devices"), names.length === 0);
  show(byId("device-view"), names.length > 0);
  const wanted = [state.device?.id, localStorage.getItem(STORAGE.device), names[0]].find((name) => names.includes(name));
  if (wanted && wanted !== state.device?.id) follow(wanted);
}

function showMore() {
  state.pages += 1;
  if (state.device) byId("device-select").value = state.device.id;
  loadDevices().catch((error) => failed("The devices could not be listed", error));
}

function follow(id) {
  localStorage.setItem(STORAGE.device, id);
  byId("device-select").value = id;
  state.live?.close();
  state.device = state.devices.find((device) => device.id === id);
  Object.assign(state, { loss: null, sim: null });
  commands.clear();
  sensors.follow(id);
  drawCards();
  state.live = new Live(id, {
    state: showConnection,
    ready: () => catchUp(id).catch((error) => failed("The device could not be loaded", error)),
    readings: (readings) => {
      sensors.apply(readings);
      noteReadings(readings);
      if (readings.some((reading) => reading.sensor === "sim/switch")) reloadSwitch(id);
    },
    command: (command) => {
      commands.put(command);
      drawCards();
    },
    device: (device) => {
      state.told += 1;
      state.device = device;
      drawCards();
      loadSim(id);
    },
  });
}

// The stream tells what happens from now on; what was before is read once it is open.
// What the stream has told meanwhile is newer than what was read.
async function catchUp(id) {
  const told = state.told;
  const [device, loss, sim, list] = await Promise.all([api.getDevice(id), api.getLoss(id), api.getSim(id), api.getCommands(id, SHOWN)]);
  const wanted = new Set(list.map((command) => command.id));
  if (sim.last_switch) wanted.add(sim.last_switch);
  const whole = await Promise.all([...wanted].map((command) => api.getCommand(id, command)));
  if (state.device?.id !== id) return;
  Object.assign(state, { loss }, state.told === told && { device, sim });
  whole.forEach((command) => commands.put(command));
  drawCards();
  await sensors.load();
}

async function loadSim(id) {
  const sim = await api.getSim(id).catch(() => null);
  if (!sim || state.device?.id !== id) return;
  state.sim = sim;
  drawCards();
}

// The SIM's own word on the last switch has come.
async function reloadSwitch(id) {
  const last = commands.lastSwitch();
  const command = last && (await api.getCommand(id, last.id).catch(() => null));
  if (!command || state.device?.id !== id) return;
  commands.put(command);
  drawCards();
}

async function loadLoss() {
  if (!state.device) return;
  const id = state.device.id;
  const loss = await api.getLoss(id);
  if (state.device?.id !== id) return;
  state.loss = loss;
  drawDevice(state.device, loss);
}

function noteReadings(readings) {
  const newest = Math.max(...readings.map((reading) => reading.t_us));
  if (newest > (state.device.last_reading_us ?? 0)) state.device.last_reading_us = newest;
  drawDevice(state.device, state.loss);
}

function drawCards() {
  if (!state.device) return;
  drawDevice(state.device, state.loss);
  drawCarrier(state.device, state.sim?.desired ?? null, commands.switchingTo(), switchTo);
  drawAlarms("alarms", state.device.alarms, acceptSim);
  commands.draw();
  drawWay(commands.lastSwitch(), nameOf);
}

async function acceptSim() {
  const id = state.device.id;
  const yes = await confirmDialog({
    title: "Accept what the SIM reports?",
    body: [h("p", {}, "Its card, its profiles and the active one are taken as what belongs there, and the alarms about them end. Nothing is switched.")],
    yes: "Accept",
  });
  if (!yes) return;
  try {
    state.sim = await api.putDesired(id, {});
    state.device = { ...state.device, alarms: state.sim.alarms };
    drawCards();
  } catch (error) {
    failed("It could not be accepted", error);
  }
}

// --- commands ---

async function switchTo(profile) {
  const name = profile.provider || format.iccid(profile.iccid);
  const from = state.device.active_carrier?.provider || "the present carrier";
  const yes = await confirmDialog({
    title: `Switch to ${name}?`,
    body: [
      h("p", {}, `${state.device.id} leaves ${from}, enables the profile `, h("span", { class: "mono iccid" }, format.iccid(profile.iccid)), " and attaches anew."),
      h("p", { class: "muted small-text" }, "If it cannot be reached on the new carrier within 10 minutes, it goes back by itself."),
    ],
    yes: `Switch to ${name}`,
  });
  if (yes) await send({ kind: "switch", iccid: profile.iccid });
}

// A rule that a person may set aside: asks for the reason, which goes into the audit trail.
async function sendForced(body, error) {
  const reason = await confirmDialog({ title: "Switch all the same?", body: [h("p", {}, error.message)], yes: "Force the switch", asksReason: true });
  if (reason) await send({ ...body, force: true, reason });
}

async function send(body) {
  const id = state.device.id;
  try {
    const command = await api.sendCommand(id, body);
    commands.put(command);
    drawCards();
  } catch (error) {
    if (error.forcible && !body.force) return void sendForced(body, error);
    failed("The command was not taken", error);
  }
}

async function cancel(command) {
  try {
    await api.cancelCommand(command.device, command.id);
    commands.put(await api.getCommand(command.device, command.id));
    drawCards();
  } catch (error) {
    failed(`${title(command, providerOf)} could not be cancelled`, error);
  }
}

// --- frame ---

function showConnection(what) {
  const [text, tone] = { connecting: ["Connecting", ""], live: ["Live", "ok"], lost: ["Reconnecting", "warn"] }[what];
  const node = byId("connection");
  if (what === "connecting" && node.dataset.state === "lost") return;
  node.textContent = text;
  node.className = `pill ${tone}`;
  node.dataset.state = what;
  const banner = byId("banner");
  banner.textContent = "The live stream is interrupted. What you see may be old; trying again.";
  show(banner, what === "lost");
  if (what === "lost") api.isSignedIn().then((yes) => yes || showSignIn("Your session is over. Sign in again."), () => {});
}

function tick() {
  for (const node of document.querySelectorAll("time[data-since]")) node.textContent = format.ago(Number(node.dataset.since));
  sensors.tick();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  for (const card of sensors.cards.values()) card.chart?.draw();
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const chosenTheme = () => localStorage.getItem(STORAGE.theme) ?? (systemDark.matches ? "dark" : "light");

function start() {
  setTheme(chosenTheme());
  systemDark.addEventListener("change", () => setTheme(chosenTheme()));
  byId("theme").addEventListener("click", () => {
    localStorage.setItem(STORAGE.theme, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    setTheme(chosenTheme());
  });
  byId("sign-in-form").addEventListener("submit", submitToken);
  byId("sign-out").addEventListener("click", () => api.signOut().catch(() => {}).finally(() => showSignIn()));
  byId("device-select").addEventListener("change", (event) => (event.target.value === MORE ? showMore() : follow(event.target.value)));
  byId("audit").addEventListener("click", () => send({ kind: "audit" }));
  byId("ping").addEventListener("click", () => send({ kind: "ping" }));
  loadCharts().catch((error) => toast("There are no charts", "bad", error.message));
  api.whenSignedOut((error) => showSignIn(error.message));
  api.isSignedIn().then((yes) => (yes ? enter() : showSignIn())).catch((error) => showSignIn(error.message));
}

start();
