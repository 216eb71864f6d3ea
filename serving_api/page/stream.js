// The platform's stream. `EventSource` cannot send a header, and a token belongs into no address,
// so the stream is read with `fetch`; ids, retry and Last-Event-ID are as an EventSource has them.

import { Backoff } from "./backoff.js";

/** Call `onSnapshot` with each snapshot and `onState` with (state, words), until `signal` aborts. */
export async function follow(api, { signal, onSnapshot, onState }) {
  const backoff = new Backoff();
  let lastId = null;
  let retry = 0;
  while (!signal.aborted) {
    onState("warn", lastId === null ? "connecting …" : "reconnecting …");
    try {
      const headers = lastId === null ? {} : { "Last-Event-ID": lastId };
      const response = await api.response("/api/metrics/stream", { headers, signal });
      onState("good", "live");
      for await (const event of events(response.body)) {
        backoff.reset();
        retry = event.retry ?? retry;
        lastId = event.id ?? lastId;
        if (event.event === "snapshot") onSnapshot(JSON.parse(event.data));
        if (event.event === "close") {
          const { code, reason } = JSON.parse(event.data);
          if (code !== 1001) return onState("bad", reason);
        }
      }
    } catch (error) {
      if (signal.aborted) return undefined;
      if ([401, 403].includes(error.status)) return onState("bad", error.message);
      retry = Math.max(retry, (error.retryAfter ?? 0) * 1000);
    }
    await new Promise((wake) => setTimeout(wake, backoff.next(retry)));
  }
  return undefined;
}

/** The events of a text/event-stream body; comments, which are heartbeats, are passed over. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = {};
      for (const line of part.split("\n")) {
        const [name, ...rest] = line.split(": ");
        if (name) event[name] = rest.join(": ");
      }
      if (event.retry) event.retry = Number(event.retry);
      yield event;
    }
  }
}
