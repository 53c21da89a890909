// The list of jobs, its filter, what is followed, and where in the page one is.

const PAGE = 100, WAIT_S = 25, MOST_ROWS = 10000;
const view = { queue: "", state: "", text: "", job: null };
const jobs = new Map(); // id -> {job, row}: what is shown, and no more
let version = 0, wanted = PAGE, more = false, queues = [], counts = {}, forgotten;
let following = new AbortController(), watching = new AbortController();
let opener = null;

// Where one is: the address says it, the token never stays there.

function place(changed = {}) {
  const { job, ...filter } = { ...view, ...changed };
  const given = Object.entries({ ...filter, job }).filter(([, value]) => value);
  return given.length ? `#${new URLSearchParams(given)}` : "#";
}

function readPlace() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (said.has("token")) token.set(said.get("token").trim());
  for (const name of ["queue", "state", "text"]) view[name] = said.get(name) ?? "";
  if (!STATES.includes(view.state)) view.state = "";
  view.job = /^\d+$/.test(said.get("job") ?? "") ? Number(said.get("job")) : null;
  if (said.has("token")) history.replaceState(null, "", place());
}

// The list.

function makeRow(job) {
  const link = make("a", { href: place({ job: job.id }) }, `${job.id}`);
  const parts = { state: make("span", { class: "badge" }, make("bdi")), name: make("bdi", { class: "name" }), wrong: make("bdi", { class: "wrong quiet" }) };
  const cells = ["state", "job", "queue", "node", "time", "cpu", "rss", "disk"].map((name) =>
    make("td", { role: "cell", class: ["cpu", "rss", "disk"].includes(name) ? `number ${name}` : name }));
  const [state, name, ...others] = cells;
  state.append(parts.state);
  name.append(link, " ", parts.name, parts.wrong);
  others.forEach((cell) => cell.append(make("bdi")));
  const row = make("tr", { role: "row", "data-id": job.id }, ...cells);
  return { job, row, link, ...parts, texts: others.map((cell) => cell.firstChild) };
}

function fillRow(entry) {
  const { job, state, name, wrong, texts, row } = entry;
  row.dataset.state = state.dataset.state = stateOf(job);
  say(state.firstChild, stateWord(stateOf(job)));
  say(name, String(job.name ?? ""));
  say(wrong, job.error ? [job.error.acronym, job.error.sentence].filter(Boolean).join(": ") : "");
  const values = [job.queue, job.node, timeOf(job), span(job.cpu_s), size(job.rss_b), size(job.disk_b)];
  values.forEach((value, n) => say(texts[n], String(value ?? "")));
  for (const text of texts.slice(0, 2)) text.title = text.textContent;
  name.title = name.textContent;
}

function timeOf(job) {
  if (isNumber(job.began)) return isOver(job) ? `took ${span(tookOf(job))}` : `for ${span(tookOf(job))}`;
  return isOver(job) ? "" : `waits ${span(now() - job.submitted)}`;
}

/** Brings jobs into the list, newest first, or out of it if they have left the chosen state. */
function take(changed) {
  const oldest = more ? Math.min(...jobs.keys()) : 0; // what is older comes with its own page
  for (const job of changed) {
    const known = jobs.get(job.id);
    if (view.state && job.state !== view.state) drop(job.id);
    else if (known) fillRow(Object.assign(known, { job }));
    else if (job.id > oldest) insert(job);
  }
  const extra = [...jobs.keys()].sort((a, b) => b - a).slice(wanted);
  extra.forEach(drop);
  more ||= extra.length > 0;
}

function insert(job) {
  const entry = makeRow(job);
  fillRow(entry);
  jobs.set(job.id, entry);
  const rows = $("rows");
  const last = rows.lastElementChild;
  if (last && Number(last.dataset.id) < job.id) {
    let next = rows.firstElementChild;
    while (Number(next.dataset.id) > job.id) next = next.nextElementSibling;
    next.before(entry.row);
  } else rows.append(entry.row);
}

function drop(id) {
  jobs.get(id)?.row.remove();
  jobs.delete(id);
}

function showList() {
  const matching = view.state ? counts[view.state] ?? 0 : Object.values(counts).reduce((a, b) => a + b, 0);
  showQueues();
  showStates();
  say($("counted"), jobs.size < matching ? `${count(jobs.size)} of ${count(matching)} jobs, newest first` : `${count(jobs.size)} ${jobs.size === 1 ? "job" : "jobs"}`);
  $("jobs").hidden = !jobs.size;
  $("nothing").hidden = jobs.size > 0;
  say($("nothing"), view.queue || view.state || view.text ? "No job is like this." : "No job yet. “pilot submit job.yaml” puts one in.");
  $("older").hidden = !more || jobs.size >= MOST_ROWS;
}

function showQueues() {
  const host = $("queues");
  const known = new Map([...host.children].map((card) => [card.dataset.name, card]));
  host.replaceChildren(...queues.map((queue) => fillQueue(known.get(String(queue.name)) ?? makeQueue(queue), queue)));
  const names = queues.map((queue) => String(queue.name));
  const options = [...$("queue").options].slice(1).map((option) => option.value);
  if (names.join("\0") !== options.join("\0"))
    $("queue").replaceChildren($("queue").options[0], ...names.map((name) => make("option", { value: name }, name)));
  $("queue").value = view.queue;
}

function makeQueue(queue) {
  const words = ["name", "status", "pilots", "counts"].map((name) => make("bdi", { class: name }));
  const card = make("button", { type: "button", class: "queue card", "data-name": queue.name }, ...words, draw("svg", { class: "strip", height: 6, "aria-hidden": "true" }));
  card.addEventListener("click", () => choose({ queue: view.queue === queue.name ? "" : queue.name }));
  return card;
}

function fillQueue(card, queue) {
  const filled = Object.entries(queue.states ?? {}).filter(([, number]) => number > 0).sort(([a], [b]) => STATES.indexOf(a) - STATES.indexOf(b));
  const whole = filled.reduce((sum, [, number]) => sum + number, 0);
  const [name, status, pilots, counts, strip] = card.children;
  card.setAttribute("aria-pressed", String(view.queue === queue.name));
  say(name, String(queue.name));
  say(status, queue.status === "online" ? "" : String(queue.status ?? ""));
  say(pilots, queue.pilots === 1 ? "1 pilot" : `${count(queue.pilots)} pilots`);
  say(counts, filled.map(([state, number]) => `${count(number)} ${stateWord(state)}`).join(", ") || "no job");
  let before = 0;
  strip.replaceChildren(...filled.map(([state, number]) => {
    const bar = draw("rect", { x: `${(100 * before) / whole}%`, width: `${(100 * number) / whole}%`, height: 6, "data-state": state });
    before += number;
    return bar;
  }));
  return card;
}

function showStates() {
  const host = $("states");
  const shown = STATES.filter((state) => counts[state] || state === view.state);
  const known = new Map([...host.children].map((chip) => [chip.dataset.state, chip]));
  const chips = shown.map((state) => known.get(state) ?? makeChip(state));
  chips.forEach((chip) => {
    chip.setAttribute("aria-pressed", String(chip.dataset.state === view.state));
    say(chip.lastChild, count(counts[chip.dataset.state]));
  });
  if (chips.some((chip, n) => host.children[n] !== chip) || chips.length !== host.children.length) host.replaceChildren(...chips);
}

function makeChip(state) {
  const chip = make("button", { type: "button", class: "chip badge", "data-state": state }, foreign(stateWord(state)), " ", make("span", { class: "quiet" }));
  chip.addEventListener("click", () => choose({ state: view.state === state ? "" : state }));
  return chip;
}

// What is asked for, and what is followed.

const filterNow = () => ({ queue: view.queue, text: view.text });

async function load(signal) {
  const pages = Math.ceil(wanted / PAGE);
  const first = await ask("jobs", { query: { ...filterNow(), state: view.state, limit: PAGE }, signal });
  const found = [...first.jobs];
  for (let n = 1; n < pages && found.length === n * PAGE; n += 1) found.push(...(await before(found.at(-1).id, signal)));
  queues = (await ask("queues", { signal })).queues;
  [...jobs.keys()].forEach(drop);
  more = false;
  take(found);
  more = found.length === pages * PAGE;
  ({ version, states: counts, forgotten } = first);
  showList();
}

const before = async (id, signal) =>
  (await ask("jobs", { query: { ...filterNow(), state: view.state, limit: PAGE, before: id }, signal })).jobs;

async function older() {
  const last = Math.min(...jobs.keys());
  const { signal } = following;
  try {
    const found = await before(last, signal);
    wanted += PAGE;
    more = false;
    take(found);
    more = found.length === PAGE;
    showList();
  } catch (error) {
    if (!signal.aborted) await failed(error);
  }
}

/** One long poll after the other; more changes than one reply holds come with the next, which is asked for at once. */
async function follow() {
  following.abort();
  const { signal } = (following = new AbortController());
  let fails = 0;
  for (version = 0; !signal.aborted; ) {
    try {
      if (!version) await load(signal);
      connected("live");
      const reply = await ask("jobs", { query: { ...filterNow(), limit: PAGE, since: version, wait_s: WAIT_S }, signal });
      fails = 0;
      await changed(reply, signal);
      if (reply.jobs.length < PAGE) await pause(1, signal);
    } catch (error) {
      if (!signal.aborted) await failed(error, (fails += 1), signal);
    }
  }
}

async function changed(reply, signal) {
  if (reply.version < version) return load(signal); // its database is another one
  if (reply.forgotten !== forgotten) {
    watch();
    return load(signal);
  }
  if (reply.jobs.length && reply.jobs.length < PAGE) queues = (await ask("queues", { signal })).queues;
  ({ version, states: counts } = reply);
  if (!reply.jobs.length) return;
  take(reply.jobs);
  showList();
  if (reply.jobs.some((job) => job.id === view.job)) watch();
}

async function failed(error, fails = 1, signal = following.signal) {
  if (error instanceof Refused && error.status === 403) return enter(error.message);
  const wait = Math.min(30, 2 ** (fails - 1));
  connected("away", error instanceof Refused ? error.message : `no connection, again in ${wait} s`);
  await pause(wait, signal);
}

function connected(state, text = "live") {
  $("connection").dataset.state = state;
  say($("connection"), text);
}

/** Keeps one job's detail fresh while it is shown and the job isn't over. */
async function watch() {
  watching.abort();
  const { signal } = (watching = new AbortController());
  const id = view.job;
  while (id && !signal.aborted) {
    try {
      const job = await ask(`jobs/${id}`, { signal });
      showDetail(job);
      if (isOver(job)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 403) return enter(error.message);
      if (error instanceof Refused && error.status === 404) return gone(error.message);
    }
    await pause(AGAIN_S, signal);
  }
}

function gone(sentence) {
  say($("job-title"), sentence);
  ["kill", "retry", "debug"].forEach((name) => ($(name).hidden = true));
}

// Coming, going and choosing.

function show() {
  const came = Boolean(token.get());
  $("entry").hidden = came;
  $("list").hidden = !came || view.job !== null;
  $("detail").hidden = !came || view.job === null;
  $("forget").hidden = !came;
  $("home").href = $("back").href = place({ job: null });
  if (document.activeElement !== $("text")) $("text").value = view.text;
}

function enter(sentence = "") {
  token.set("");
  following.abort();
  watching.abort();
  [...jobs.keys()].forEach(drop);
  connected("", "");
  say($("entry-why"), sentence);
  $("entry-why").hidden = !sentence;
  show();
  $("token").focus();
}

function choose(filter) {
  history.replaceState(null, "", place(filter));
  arrive();
}

/** After any change of the address: shows what it says, and asks for what it needs. */
function arrive() {
  const { job, ...filter } = view;
  readPlace();
  show();
  if (!token.get()) return enter();
  const same = ["queue", "state", "text"].every((name) => filter[name] === view[name]);
  if (!same) wanted = PAGE;
  if (!same || following.signal.aborted || !version) follow();
  if (view.job !== job || watching.signal.aborted) turn(job);
}

function turn(from) {
  watching.abort();
  if (view.job) {
    opener = view.job;
    clearDetail(view.job);
    scrollTo(0, 0);
    $("job-title").focus();
    watch();
  } else {
    document.title = "Jobs";
    if (from) jobs.get(opener)?.link.focus();
  }
}

function listen() {
  $("entry").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set($("token").value.trim());
    $("token").value = "";
    arrive();
  });
  $("forget").addEventListener("click", () => enter());
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  let typing;
  $("text").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ text: $("text").value.trim() }), 250);
  });
  $("queue").addEventListener("change", () => choose({ queue: $("queue").value }));
  $("older").addEventListener("click", older);
  $("rows").addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a") && !String(getSelection())) location.hash = place({ job: row.dataset.id });
  });
  listenToDetail();
  addEventListener("hashchange", arrive);
  addEventListener("keydown", keys);
  document.addEventListener("visibilitychange", () => {
    if (!token.get()) return;
    if (document.hidden) [following, watching].forEach((one) => one.abort());
    else if (following.signal.aborted) {
      follow();
      watch();
    }
  });
  setInterval(() => jobs.forEach((entry) => isOver(entry.job) || fillRow(entry)), 5000);
}

function listenToDetail() {
  const act = (...what) => order(...what).then(watch);
  const free = (button) => !$(button).hasAttribute("aria-disabled");
  $("kill").addEventListener("click", () => {
    if (!free("kill")) return;
    say($("sure-title"), `Kill job ${view.job}?`);
    $("sure").showModal();
  });
  $("keep").addEventListener("click", () => $("sure").close());
  $("end").addEventListener("click", () => ($("sure").close(), act("cancel", view.job)));
  $("retry").addEventListener("click", () => free("retry") && act("retry", view.job));
  $("debug").addEventListener("click", () => free("debug") && act("debug", view.job, $("debug").getAttribute("aria-pressed") !== "true"));
  $("look").addEventListener("submit", (event) => {
    event.preventDefault();
    if (free("debug")) act("debug", view.job, true, $("command").value.trim());
  });
  addEventListener("resize", () => view.job && showUsage());
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("sure").open) return;
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !typing && !$("list").hidden) {
    event.preventDefault();
    $("text").focus();
  } else if (event.key === "Escape" && view.job) location.hash = place({ job: null });
}

listen();
arrive();
