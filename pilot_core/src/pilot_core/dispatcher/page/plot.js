// Small plots over time: axes with units, one or two lines, and the value under the pointer.

const LEFT = 68, RIGHT = 12, TOP = 10, BOTTOM = 26, HEIGHT = 168, MOST = 480, MOST_MEASURES = 12, SHORTEST_S = 1;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** The next of 1, 2, 5 times a power of ten. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((factor) => factor * power >= value * 0.999) * power;
}

function timeStep(length, most) {
  const step = STEPS.find((one) => length / one <= most);
  return step ?? Math.ceil(length / most / 86400) * 86400;
}

const ticks = (top, step) => Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, n) => n * step);

/** At most so many points, each the highest of its neighbours: peaks stay. */
function thinned(points) {
  const width = Math.ceil(points.length / MOST);
  const groups = Array.from({ length: Math.ceil(points.length / width) }, (_, n) => points.slice(n * width, (n + 1) * width));
  return groups.map((group) => group.reduce((high, one) => (one.y > high.y ? one : high)));
}

/** What a counter grew by per second between samples; a counter that begins anew gives no rate, nor does a moment. */
function rates(samples, name) {
  const apart = samples.reduce((kept, one) => (kept.length && one.at - kept.at(-1).at < SHORTEST_S ? kept : [...kept, one]), []);
  const pairs = apart.slice(1).map((sample, n) => [apart[n], sample]);
  return pairs
    .filter(([a, b]) => isNumber(a[name]) && isNumber(b[name]) && b.at > a.at && b[name] >= a[name])
    .map(([a, b]) => ({ x: b.at, y: (b[name] - a[name]) / (b.at - a.at) }));
}

const levels = (samples, name) => samples.filter((one) => isNumber(one[name])).map((one) => ({ x: one.at, y: one[name] }));

const BYTES = { scale: (top) => unitOf(top), text: size };
const RATE = { scale: (top) => [`${unitOf(top)[0]}/s`, unitOf(top)[1]], text: (value) => `${size(value)}/s` };
const CORES = { scale: () => ["", 1], text: digits };

/** One plot as a figure; lines are [{name, points: [{x, y}]}] and all begin at `start`. */
function plot(title, unit, lines, start, width) {
  const drawn = lines.filter((line) => line.points.length).map((line) => ({ ...line, points: thinned(line.points) }));
  const all = drawn.flatMap((line) => line.points);
  if (!all.length) return null;
  if (drawn.every((line) => line.points.length === 1)) return make("figure", { class: "card" }, captioned(title, drawn, unit));
  const length = Math.max(1, ...all.map((point) => point.x - start));
  const [word, divisor] = unit.scale(2 * highest(all));
  const most = highest(all) / divisor;
  const step = round(Math.max(0.1, most) / 3);
  const top = Math.max(step, Math.ceil(most / step - 1e-9) * step);
  const place = {
    x: (at) => LEFT + ((at - start) / length) * (width - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - (value / divisor / top) * (HEIGHT - TOP - BOTTOM),
  };
  const summary = drawn.map((line) => summarised(line, unit)).join("; ");
  const area = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": `${title}: ${summary}` });
  area.append(...grid(place, { top, step, divisor, length, start, width, word }));
  drawn.forEach((line, n) => area.append(draw("path", { class: `line line-${n}`, d: path(line.points, place) })));
  const figure = make("figure", { class: "card" }, captioned(title, drawn, unit), area);
  point(figure, area, drawn, place, unit, start, width);
  return figure;
}

const highest = (points) => Math.max(...points.map((point) => point.y));
const summarised = (line, unit) => `${line.name ? `${line.name} ` : ""}at most ${unit.text(highest(line.points))}, last ${unit.text(line.points.at(-1).y)}`;

const captioned = (title, lines, unit) => make("figcaption", {}, make("strong", {}, title), " ", legend(lines, unit));

function legend(lines, unit) {
  const entries = lines.map((line, n) =>
    make("span", { class: `key key-${n}` }, `${line.name ? `${line.name}, ` : ""}at most ${unit.text(highest(line.points))}`));
  return make("span", { class: "legend" }, ...entries);
}

function path(points, place) {
  const ends = points.map((point) => `${place.x(point.x).toFixed(1)},${place.y(point.y).toFixed(1)}`);
  return points.length === 1 ? `M${ends[0]}h0.1` : `M${ends.join("L")}`;
}

function grid(place, { top, step, divisor, length, start, width, word }) {
  const across = ticks(top, step).flatMap((value) => {
    const y = place.y(value * divisor);
    const label = draw("text", { class: "tick", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, value ? `${digits(value)} ${word}`.trim() : "0");
    return [draw("path", { class: "grid", d: `M${LEFT},${y}H${width - RIGHT}` }), label];
  });
  const along = ticks(length, timeStep(length, Math.max(2, (width - LEFT) / 90))).map((value) =>
    draw("text", { class: "tick", x: place.x(start + value), y: HEIGHT - 8, "text-anchor": value ? "middle" : "start" }, span(value)));
  return [...across, ...along];
}

/** Shows the values nearest to the pointer. */
function point(figure, area, lines, place, unit, start, width) {
  const mark = draw("path", { class: "mark" });
  const shown = make("output", { class: "value" });
  area.append(mark);
  figure.append(shown);
  const clear = () => (mark.removeAttribute("d"), say(shown, ""));
  area.addEventListener("pointerleave", clear);
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const near = lines.map((line) => line.points.reduce((best, one) =>
      Math.abs(place.x(one.x) - x) < Math.abs(place.x(best.x) - x) ? one : best));
    mark.setAttribute("d", `M${place.x(near[0].x)},${TOP}V${HEIGHT - BOTTOM}`);
    const values = near.map((one, n) => `${lines[n].name ? `${lines[n].name} ` : ""}${unit.text(one.y)}`);
    say(shown, `${span(near[0].x - start)}: ${values.join(", ")}`);
  });
}

/** What monitors measured, each under its own name: bytes where the name says so. */
function measures(samples, start, width) {
  const names = [...new Set(samples.flatMap((one) => Object.keys(one.more ?? {})))].slice(0, MOST_MEASURES);
  const points = (name) => samples.filter((one) => isNumber(one.more?.[name])).map((one) => ({ x: one.at, y: one.more[name] }));
  return names.map((name) => plot(name, name.endsWith("_b") ? BYTES : CORES, [{ name: "", points: points(name) }], start, width));
}

/** All plots for the samples of a job, from its beginning on. */
function plots(samples, began, width) {
  const good = samples.filter((one) => isNumber(one.at)).sort((a, b) => a.at - b.at);
  if (!good.length) return [];
  const start = Math.min(isNumber(began) ? began : Infinity, good[0].at);
  const io = [{ name: "read", points: rates(good, "read_b") }, { name: "written", points: rates(good, "written_b") }];
  return [
    plot("Memory", BYTES, [{ name: "", points: levels(good, "rss_b") }], start, width),
    plot("CPU cores in use", CORES, [{ name: "", points: rates(good, "cpu_s") }], start, width),
    plot("Input and output", RATE, io, start, width),
    plot("Work directory", BYTES, [{ name: "", points: levels(good, "disk_b") }], start, width),
    ...measures(good, start, width),
  ].filter(Boolean);
}
