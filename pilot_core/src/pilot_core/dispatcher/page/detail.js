// One job: what happened, why it failed, and what can be done.

const AGAIN_S = 5;
const LARGE_B = 500e6;
let shownParts = {};
let samples = [];
let began = null;

/** Draws a part again only if what it shows has changed: focus, selection and scroll stay where they are. */
function put(name, value, redraw) {
  const text = JSON.stringify(value) ?? "";
  if (shownParts[name] === text) return;
  shownParts[name] = text;
  redraw();
}

function clearDetail(id) {
  shownParts = {};
  samples = [];
  for (const part of $("detail").querySelectorAll("section, .actions button")) part.hidden = true;
  $("asked").hidden = true;
  $("command").value = "";
  $("facts").replaceChildren();
  say($("job-title"), `Job ${id}`);
  tell("");
}

function showDetail(job) {
  const over = isOver(job);
  document.title = `Job ${job.id}: ${stateWord(stateOf(job))}`;
  put("title", [job.id, job.name, stateOf(job)], () =>
    $("job-title").replaceChildren(`Job ${job.id} `, foreign(job.name, { class: "name" }), " ", badge(stateOf(job))));
  $("kill").hidden = over || Boolean(job.cancelling);
  $("retry").hidden = !over || job.state === "finished";
  $("debug").hidden = over;
  $("debug").setAttribute("aria-pressed", String(Boolean(job.debug)));
  put("look", [job.debug, job.command, job.answer, over], () => showLook(job, over));
  put("why", [job.error, job.advice, job.state], () => showReason(job));
  put("facts", [factsOf(job)], () => showFacts(factsOf(job)));
  put("course", [job.attempts, job.timing, over ? 0 : now()], () => showCourse(job));
  samples = job.usage ?? [];
  began = job.began;
  showUsage();
  put("files", job.files, () => showFiles(job.files ?? []));
  put("log", job.log_tail, () => showLog(String(job.log_tail ?? "")));
  $("asked").hidden = false;
  put("asked", job.description, () => say($("description"), JSON.stringify(job.description ?? {}, null, 2)));
}

function showReason(job) {
  const failed = job.error ?? (job.state === "failed" ? { sentence: "The pilot gave no reason." } : null);
  const stuck = !failed && job.advice && !isOver(job);
  $("why").hidden = !failed && !stuck;
  if (stuck) return explain("Why it waits", make("p", {}, foreign(job.advice)));
  if (failed && job.state === "cancelled") return explain("Why it ended", make("p", {}, "It was cancelled while it ran; its pilot ended it."));
  if (!failed) return;
  const number = [failed.acronym, failed.code].filter(Boolean).join(" ");
  const parts = [make("p", { class: "sentence" }, foreign(failed.sentence), " ", foreign(number, { class: "quiet" }))];
  if (failed.detail) parts.push(make("pre", { class: "said", dir: "auto", tabindex: "0", "aria-label": "In the pilot’s words" }, String(failed.detail)));
  const found = failed.failure;
  if (found) parts.push(make("p", { class: "quiet" }, foreign(verdictOf(found))));
  if (job.advice) parts.push(make("p", {}, make("strong", {}, "What to do "), foreign(job.advice)));
  explain(isOver(job) ? "Why it failed" : "What went wrong before", ...parts);
}

function explain(title, ...parts) {
  say($("why-title"), title);
  $("reason").replaceChildren(...parts);
}

function verdictOf(found) {
  const more = [["memory", found.memory_factor], ["time", found.time_factor]].filter(([, by]) => isNumber(by) && by > 1);
  const retry = [found.where, ...more.map(([name, by]) => `${name} x ${by}`), ...(found.counts ? [] : ["does not count"])];
  const blamed = found.fault === "nobody" ? "nobody's fault" : `fault of the ${found.fault}`;
  return `Class ${found.class}, ${blamed}; retry: ${retry.join(", ")}.`;
}

function factsOf(job) {
  const usage = job.usage?.at(-1) ?? {};
  return [
    ["Queue", job.queue],
    ["Node", job.node],
    ["Attempt", `${job.attempt ?? ""}${job.lost ? `, lost ${job.lost === 1 ? "once" : `${job.lost} times`}` : ""}`],
    ["Last said", job.sub],
    ["Submitted", moment(job.submitted)],
    ["Began", moment(job.began)],
    ["Ended", moment(job.ended)],
    [isOver(job) ? "Took" : "Runs for", span(tookOf(job))],
    ["CPU time", span(job.cpu_s)],
    ["Memory", size(job.rss_b)],
    ["Disk", size(job.disk_b)],
    ["Processes", isOver(job) || !isNumber(usage.processes) ? "" : count(usage.processes)],
    ["Exit code", isNumber(job.exit_code) ? String(job.exit_code) : ""],
  ].filter(([, value]) => value != null && value !== "");
}

const tookOf = (job) => (isNumber(job.began) ? Math.max(0, (job.ended ?? now()) - job.began) : null);

function showFacts(facts) {
  const pairs = facts.map(([name, value]) => make("div", String(value).length > 20 ? { class: "wide" } : {}, make("dt", {}, name), make("dd", {}, foreign(value))));
  $("facts").replaceChildren(...pairs);
}

/** The attempts on one axis of time, then the phases of the last one. */
function showCourse(job) {
  const attempts = (job.attempts ?? []).filter((one) => isNumber(one.began));
  const phases = Object.entries(job.timing ?? {}).filter(([, took]) => isNumber(took) && took > 0);
  $("course-part").hidden = !attempts.length && !phases.length;
  const first = Math.min(...attempts.map((one) => one.began));
  const last = Math.max(first + 0.001, ...attempts.map((one) => one.ended ?? now()));
  const rows = attempts.map((one) => attemptRow(one, first, last));
  $("course").replaceChildren(...(rows.length ? [make("ol", { class: "attempts" }, ...rows)] : []), ...phaseBar(phases, job.attempt));
}

function attemptRow(attempt, first, last) {
  const end = attempt.ended ?? now();
  const share = (seconds) => `${(100 * seconds) / (last - first)}%`;
  const length = Math.max(end - attempt.began, (last - first) / 200);
  const bar = draw("rect", { x: share(attempt.began - first), width: share(length), height: 8, rx: 2, "data-state": attempt.state });
  const strip = draw("svg", { class: "strip", height: 8, "aria-hidden": "true" }, bar);
  const words = make("p", {}, make("strong", {}, `Attempt ${attempt.attempt}`), " ", badge(attempt.state), " ", foreign(attempt.node),
    make("span", { class: "quiet" }, `from ${moment(attempt.began)}, ${span(end - attempt.began)}`));
  const wrong = attempt.error ? [make("p", { class: "quiet" }, foreign(attempt.error.sentence ?? attempt.error))] : [];
  return make("li", {}, words, strip, ...wrong);
}

const phaseWord = (name) => name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());

function phaseBar(phases, attempt) {
  if (!phases.length) return [];
  const whole = phases.reduce((sum, [, took]) => sum + took, 0);
  let before = 0;
  const bars = phases.map(([, took], n) => {
    const x = (100 * before) / whole;
    before += took;
    return draw("rect", { class: `phase-${n % 6}`, x: `${x}%`, width: `${(100 * took) / whole}%`, height: 14 });
  });
  const keys = phases.map(([name, took], n) => make("li", { class: `phase-${n % 6}` }, foreign(phaseWord(name)), ` ${span(took)}`));
  const title = make("p", { id: "phases-title", class: "quiet" }, `Phases of attempt ${attempt}`);
  return [title, draw("svg", { class: "strip phases", height: 14, "aria-hidden": "true" }, ...bars), make("ul", { class: "phases", "aria-labelledby": "phases-title" }, ...keys)];
}

function showUsage() {
  $("usage-part").hidden = !samples.length;
  if (!samples.length) return;
  const room = $("plots").clientWidth || 640;
  const width = Math.floor(room >= 720 ? (room - 12) / 2 : room) - 26;
  put("usage", [samples.length, samples.at(-1), width], () => $("plots").replaceChildren(...plots(samples, began, width)));
}

function showFiles(files) {
  $("files-part").hidden = !files.length;
  $("files").replaceChildren(...files.map(fileRow));
}

function fileRow(file) {
  const way = { in: "input", out: "output" }[file.direction] ?? file.direction;
  const facts = [way, size(file.size_b), file.checksum].filter(Boolean).map((text) => foreign(text));
  const row = make("li", {}, foreign(file.name, { class: "name" }), make("span", { class: "quiet spaced" }, ...facts));
  const path = storedHere(file.url);
  if (path && !(file.size_b > LARGE_B)) row.append(downloadButton(path, String(file.name)));
  else if (path) row.append(make("span", { class: "quiet" }, "large: use “pilot fetch”"));
  else if (file.url) row.append(foreign(file.url, { class: "quiet place" }));
  return row;
}

function downloadButton(path, name) {
  const button = make("button", { type: "button", "aria-label": `Download ${name}` }, "Download");
  button.addEventListener("click", () =>
    download(path, name).then(() => tell(`${name} is downloaded.`), (error) => tell(error.message, true)));
  return button;
}

/** The log stays at its end if its reader was there. */
function showLog(text) {
  $("log-part").hidden = !text;
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  say(log, text);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** What an operator asked to see of the job’s directory, and what came back. */
function showLook(job, over) {
  const { command, answer } = job;
  $("debug-part").hidden = !(job.debug && !over) && !answer;
  const waits = command && !over && answer?.command !== command;
  say($("look-state"), waits ? `Asked for “${command}”; the pilot answers with its next updates.` : answer ? `“${answer.command}” at ${moment(answer.at)}` : "");
  $("answer").hidden = !answer || Boolean(waits);
  say($("answer"), String(answer?.text ?? ""));
}

function tell(text, wrong = false) {
  $("said").classList.toggle("wrong", wrong);
  say($("said"), text);
}

const DID = {
  cancel: "is cancelled; if a pilot has it, as soon as that hears of it",
  retry: "waits for its next attempt",
  look: "is asked for it with its pilot’s next update",
  "debug-true": "sends more of its log from now on",
  "debug-false": "sends no more than usual from now on",
};

/** Asks the dispatcher for it and says what came of it. */
async function order(what, id, on, command) {
  const buttons = ["kill", "retry", "debug"].map($);
  const did = command ? "look" : on === undefined ? what : `${what}-${on}`;
  const asked = { ids: [id], ...(on === undefined ? {} : { on }), ...(command ? { command } : {}) };
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  tell("Asking the dispatcher…");
  try {
    const reply = await ask(what, { body: asked });
    const refused = (reply.refused ?? []).find((one) => one.id === id);
    tell(refused ? `Job ${id}: ${refused.why}` : `Job ${id} ${DID[did]}.`, Boolean(refused));
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The dispatcher can’t be reached: nothing was done.", true);
  }
  buttons.forEach((button) => button.removeAttribute("aria-disabled"));
}
