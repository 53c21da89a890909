// The dispatcher's API, asked with the token of this tab and of no other place.

const KEPT = "pilot-token";
let skew = 0;

const token = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEPT, text) : sessionStorage.removeItem(KEPT)),
};

/** The server's time, by which jobs are timed. */
const now = () => Date.now() / 1000 + skew;

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function ask(path, { query = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  const headers = { Authorization: `Bearer ${token.get()}`, Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  const asked = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
  const reply = await fetch(`/dispatcher/v1/${path}${search}`, { ...asked, cache: "no-store", redirect: "error" });
  const date = Date.parse(reply.headers.get("Date") ?? "");
  if (Math.abs(date / 1000 - now()) > 2) skew = (date - Date.now()) / 1000;
  const said = await reply.json().catch(() => ({}));
  if (reply.ok) return said;
  throw new Refused(reply.status, String(said.error ?? `The dispatcher answered ${reply.status}.`));
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** The path of a file that this very server stores; nothing for any other address. */
function storedHere(url) {
  const place = URL.canParse(url, location.href) ? new URL(url, location.href) : null;
  if (!place?.pathname.startsWith("/storage/")) return null;
  const near = LOOPBACK.includes(place.hostname) && LOOPBACK.includes(location.hostname);
  const ours = place.origin === location.origin || (near && place.port === location.port);
  return ours ? place.pathname : null;
}

/** Fetches a stored file with the token and hands it to the browser under its name. */
async function download(path, name) {
  const headers = { Authorization: `Bearer ${token.get()}` };
  const reply = await fetch(path, { headers, redirect: "error" });
  if (!reply.ok) throw new Refused(reply.status, `${name} can't be fetched: the dispatcher answered ${reply.status}.`);
  const address = URL.createObjectURL(new Blob([await reply.blob()], { type: "application/octet-stream" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

const pause = (seconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
