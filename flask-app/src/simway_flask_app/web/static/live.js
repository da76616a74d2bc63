// The event stream of one device, kept open. It is opened anew when it ends or when the server has no place for it.

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 15000;

export class Live {
  // handlers: ready(), readings(list), command(object), device(object), state("connecting" | "live" | "lost")
  constructor(device, handlers) {
    this.device = device;
    this.handlers = handlers;
    this.retryMs = RETRY_MIN_MS;
    this.closed = false;
    this.open();
  }

  open() {
    this.handlers.state("connecting");
    const source = new EventSource(`/api/v1/events?device=${encodeURIComponent(this.device)}`);
    this.source = source;
    const on = (name, handle) => source.addEventListener(name, (event) => !this.closed && handle(JSON.parse(event.data)));
    on("ready", () => {
      this.retryMs = RETRY_MIN_MS;
      this.handlers.state("live");
      this.handlers.ready();
    });
    on("readings", (data) => this.handlers.readings(data.readings));
    on("command", (data) => this.handlers.command(data.command));
    on("device", (data) => this.handlers.device(data.detail));
    source.addEventListener("error", () => this.failed(source));
  }

  failed(source) {
    if (this.closed || source !== this.source) return;
    source.close();
    this.handlers.state("lost");
    this.timer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MAX_MS);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.source.close();
  }
}
