// Calls to the REST API with the session cookie. Failures are ApiError with the problem's reason and detail.

const ROOT = "/api/v1";

export class ApiError extends Error {
  constructor(status, reason, detail, forcible = false) {
    super(detail);
    this.forcible = forcible;
    this.status = status;
    this.reason = reason;
  }
}

let onSignedOut = () => {};

export function whenSignedOut(callback) {
  onSignedOut = callback;
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer. Is it running?");
  }
  if (response.status === 204) return null;
  const data = await response.json().catch(() => null);
  if (response.ok) return data;
  const error = new ApiError(response.status, data?.reason ?? "error", describe(data, response), data?.forcible ?? false);
  if (response.status === 401 && path !== "/session") onSignedOut(error);
  throw error;
}

function describe(data, response) {
  if (!data?.detail) return `The server answered ${response.status} ${response.statusText}.`;
  const errors = (data.errors ?? []).map((error) => `${error.where}: ${error.detail}`).join("; ");
  return errors ? `${data.detail} ${errors}` : data.detail;
}

const device = (id) => `/devices/${encodeURIComponent(id)}`;

export const isSignedIn = async () => (await call("GET", "/session")).signed_in;
export const signIn = (token) => call("POST", "/session", { token });
export const signOut = () => call("DELETE", "/session");
export const getDevice = (id) => call("GET", device(id));
export const getLoss = (id) => call("GET", `${device(id)}/loss`);
export const getSim = (id) => call("GET", `${device(id)}/sim`);
export const putDesired = (id, body) => call("PUT", `${device(id)}/sim/desired`, body);
export const getPlatformAlarms = async () => (await call("GET", "/alarms?scope=platform")).alarms;
export const getLatest = async (id) => (await call("GET", `${device(id)}/readings/latest`)).readings;
export const getCommands = async (id, limit) => (await call("GET", `${device(id)}/commands?limit=${limit}`)).commands;
export const getCommand = (id, command) => call("GET", `${device(id)}/commands/${command}`);
export const sendCommand = (id, body) => call("POST", `${device(id)}/commands`, body);
export const cancelCommand = (id, command) => call("POST", `${device(id)}/commands/${command}/cancel`);

// The first devices: so many pages of 100.
export async function getDevices(pages) {
  const devices = [];
  let cursor = "";
  for (let n = 0; n < pages && cursor !== null; n++) {
    const page = await call("GET", `/devices?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    devices.push(...page.devices);
    cursor = page.next_cursor;
  }
  return { devices, more: cursor !== null };
}

export async function getHistory(id, sensor, fromUs, limit) {
  const query = new URLSearchParams({ sensor, from: String(fromUs), order: "desc", limit: String(limit) });
  return (await call("GET", `${device(id)}/readings?${query}`)).readings.reverse();
}
