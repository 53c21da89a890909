// Texts and elements. What came from a job becomes a text node or an attribute, never HTML.

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

/** An element with attributes and children; strings among the children become text. */
function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A text of a stranger's: its direction and its controls stay inside. */
const foreign = (text, attributes = {}) => make("bdi", attributes, String(text ?? ""));

/** Sets a text only where it differs, so that nothing moves without need. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const digits = (value) => (value >= 99.5 ? value.toFixed(0) : Number(value.toPrecision(2)).toString());

const SIZES = [["B", 1], ["kB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12], ["PB", 1e15]];
const unitOf = (value) => SIZES.findLast(([, unit]) => Math.abs(value) >= 0.995 * unit) ?? SIZES[0];

function size(value) {
  if (!isNumber(value)) return "";
  const [name, unit] = unitOf(value);
  return `${digits(value / unit)} ${name}`;
}

/** A duration in its two largest units. */
function span(seconds) {
  if (!isNumber(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return seconds > 0 && seconds < 9.95 ? `${digits(seconds)} s` : `${whole} s`;
  const [days, hours, minutes] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60].map(Math.floor);
  if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return whole % 60 && minutes < 10 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

function moment(epoch) {
  if (!isNumber(epoch)) return "";
  const when = new Date(epoch * 1000);
  const today = when.toDateString() === new Date().toDateString();
  return today ? TIME.format(when) : `${DAY.format(when)}, ${TIME.format(when)}`;
}

const count = (number) => (isNumber(number) ? number.toLocaleString("en").replaceAll(",", "\u202f") : "0");

const STATES = ["activated", "sent", "starting", "running", "holding", "transferring", "finished", "failed", "cancelled"];
const OVER = ["finished", "failed", "cancelled"];
const isOver = (job) => OVER.includes(job.state);
const stateWord = (state) => (state === "activated" ? "waiting" : state);
/** A job that is to be cancelled goes on until its pilot has heard of it. */
const stateOf = (job) => (job.cancelling && !isOver(job) ? "cancelling" : String(job.state));
const badge = (state) => make("span", { class: "badge", "data-state": state }, foreign(stateWord(state)));
