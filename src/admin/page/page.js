// The operator's page: takes the server's pulse from /live and draws it. The token travels in a header, so the stream is read by
// fetch and not by EventSource, which cannot send one.
'use strict';

import { TimeChart, bytes, count, el, fillBar, ms, percent, spark } from './charts.js';
import { Turns } from './turns.js';

const SECONDS = 300;
const PHASES = ['idle', 'listening', 'thinking', 'speaking'];
const AGAIN_MS = 2000, FULL_AGAIN_MS = 5000, SILENT_MS = 5000, HIDDEN_MS = 60000;
const at = (id) => document.getElementById(id);

let past = null, lateMs = 5, providers = [], lastNews = 0, stream = null, timer = null, hiddenTimer = null;
const charts = {
  first: new TimeChart(at('first-chart'), [{ name: 'p50', shade: 'speaking' }, { name: 'p95', shade: 'stage4' }, { name: 'p99', shade: 'bad' }], { format: ms, least: 10 }),
  phase: new TimeChart(at('phase-chart'), PHASES.map((name) => ({ name, shade: name })), { stacked: true, least: 4 }),
  late: new TimeChart(at('late-chart'), [{ name: 'lateness', shade: 'accent' }], { format: ms, mark: lateMs, least: 6 }),
};
const turns = new Turns(at('turns'), at('resume'));

// --- The stream ---------------------------------------------------------------------------------------------------------

async function watch() {
  clearTimeout(timer);
  stream?.abort();
  const mine = (stream = new AbortController());
  const token = sessionStorage.getItem('token');
  let again = AGAIN_MS;
  try {
    const answer = await fetch('live', { headers: token ? { Authorization: `Bearer ${token}` } : {}, signal: mine.signal, cache: 'no-store' });
    if (answer.status === 401) return ask(token !== null);
    if (!answer.ok) {
      again = FULL_AGAIN_MS;
      throw new Error((await answer.text()).trim() || `status ${answer.status}`);
    }
    at('ask').hidden = true;
    at('board').hidden = false;
    await read(answer.body);
    throw new Error('the server has ended the stream');
  } catch (trouble) {
    if (mine.signal.aborted) return;
    say('bad', trouble instanceof TypeError ? 'no connection, trying again' : trouble.message);
    timer = setTimeout(watch, again);
  }
}

/** Server-sent events: lines, and an empty one after each event. */
async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = {};
      for (const line of text.slice(0, end).split('\n')) {
        const colon = line.indexOf(': ');
        event[line.slice(0, colon)] = line.slice(colon + 2);
      }
      text = text.slice(end + 2);
      handle(event.event, JSON.parse(event.data));
    }
  }
}

function handle(name, data) {
  lastNews = Date.now();
  if (name === 'past') begin(data);
  else if (past) show(data);
}

function ask(isWrong) {
  sessionStorage.removeItem('token');
  say('warn', 'token needed');
  at('board').hidden = true;
  at('ask').hidden = false;
  at('wrong').hidden = !isWrong;
  at('token').focus();
}

at('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', at('token').value);
  at('token').value = '';
  watch();
});

/** A page nobody looks at gives its seat back after a while. */
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => {
      stream?.abort();
      stream = null;
    }, HIDDEN_MS);
  } else if (!stream) watch();
});

setInterval(() => {
  const isStale = lastNews > 0 && Date.now() - lastNews > SILENT_MS;
  at('board').classList.toggle('stale', isStale);
  if (isStale && stream && at('state').classList.contains('good')) say('warn', 'no news');
}, 1000);

function say(kind, text) {
  at('state').className = `pill ${kind}`;
  at('state').textContent = text;
}

// --- What is shown ------------------------------------------------------------------------------------------------------

function begin(data) {
  ({ past, late_ms: lateMs } = data);
  providers = data.about.providers;
  at('version').textContent = data.about.version;
  at('late-says').textContent = `within ${lateMs} ms`;
  at('shards-say').textContent = `busy share, and how late each wakes (p99) · ${data.about.shards}`;
  at('shards-say').title = data.about.shards;
  charts.late.mark = lateMs;
  stages = data.stages;
  turns.reset(data.turns, stages);
  drawCharts();
  say('good', 'live');
}

function show(beat) {
  say('good', 'live');
  remember(beat);
  const missing = beat.missing.map(([part, reason]) => `${part}: ${reason}`).join(' · ');
  at('ready').hidden = !missing;
  at('ready').className = 'pill warn';
  at('ready').textContent = `not ready – ${missing}`;
  at('uptime').textContent = span(beat.uptime_s);
  at('cores').textContent = beat.process.cores === null ? '–' : beat.process.cores.toFixed(2);
  at('memory').textContent = bytes(beat.process.resident_bytes);
  at('threads').textContent = count(beat.process.threads);
  showTiles(beat);
  showBars(beat.first_audio);
  showShards(beat.shards);
  showPools(beat.pools);
  showQueues(beat.queues);
  showDrops(beat);
  turns.add(beat.turns);
  drawCharts();
}

/** The beat's second becomes the last of the past. */
function remember(beat) {
  const push = (column, value) => {
    column.push(value);
    if (column.length > SECONDS) column.shift();
  };
  push(past.at_ms, beat.at_ms);
  for (const [name, value] of Object.entries(beat.second)) push(past[name], value);
  for (const shard of beat.shards) {
    let known = past.shards.find((one) => one.shard === shard.shard);
    if (!known) past.shards.push((known = { shard: shard.shard, busy: [], late_ms: [] }));
    push(known.busy, shard.busy);
    push(known.late_ms, shard.late_ms);
  }
}

function drawCharts() {
  const times = past.at_ms.map((time) => time / 1000);
  charts.first.set(times, [past.p50, past.p95, past.p99]);
  charts.phase.set(times, PHASES.map((phase) => past[phase]));
  charts.late.set(times, [past.frame_late_ms]);
}

/** A number with its unit in a smaller letter. */
function big(id, text) {
  const [value, unit] = text.split(' ');
  at(id).replaceChildren(value, ...(unit ? [el('span', 'unit', unit)] : []));
}

function key(id, entries) {
  at(id).replaceChildren(...entries.map(([name, value, shade, kind]) => {
    const entry = el('li', kind ?? '');
    if (shade) {
      const swatch = el('i', 'swatch');
      swatch.style.background = `var(--${shade})`;
      entry.append(swatch);
    }
    entry.append(`${name} `, el('b', '', value));
    return entry;
  }));
}

function showTiles({ second, minute, first_audio: first }) {
  big('devices', count(second.connections));
  const devices = Math.max(1, PHASES.reduce((sum, phase) => sum + second[phase], 0));
  fillBar(at('phase-bar'), PHASES.map((phase) => [second[phase] / devices, phase, `${phase}: ${count(second[phase])}`]));
  key('phase-key', PHASES.map((phase) => [phase, count(second[phase]), phase]));

  const scale = minute.span_s > 0 ? 60 / minute.span_s : 0;
  const ended = minute.complete + minute.failed + minute.aborted + minute.empty;
  big('turns-rate', count(ended * scale));
  spark(at('turns-spark'), past.complete.map((n, i) => n + past.failed[i]), { shade: 'speaking', room: Math.max(60, past.at_ms.length) });
  const bad = (n) => (n ? 'bad' : '');
  key('turns-key', [['complete', count(minute.complete)], ['failed', count(minute.failed), null, bad(minute.failed)], ['cut short', count(minute.aborted)], ['empty', count(minute.empty)]]);

  first?.bars.forEach((bar) => big(`p${bar.p}`, ms(bar.ms)));
  if (!first) ['p50', 'p95', 'p99'].forEach((id) => big(id, '–'));
  at('first-note').textContent = first ? `${count(first.n)} turns of the last minute` : 'no turn with audio in the last minute';

  big('on-time', percent(minute.frames ? 1 - minute.frames_late / minute.frames : null));
  spark(at('frames-spark'), past.frames, { room: Math.max(60, past.at_ms.length) });
  key('frames-key', [['frames/s', count(second.frames)], ['late', count(minute.frames_late), null, bad(minute.frames_late)], ['p99', ms(second.frame_late_ms)], ['ran dry', count(minute.underruns), null, bad(minute.underruns)]]);
}

let stages = [];

function showBars(first) {
  at('stages').hidden = !first;
  if (!first) return at('bars').replaceChildren(el('p', 'note', 'Once devices talk, this shows what their users wait for.'));
  const longest = Math.max(0.001, ...first.bars.map((bar) => bar.ms));
  const stack = at('bars').querySelector('.stack') ?? el('div', 'stack');
  if (!stack.isConnected) {
    first.bars.forEach((bar) => stack.append(el('span', 'of', `p${bar.p}`), el('div', 'bar'), el('b')));
    at('bars').replaceChildren(stack);
    const head = el('tr', '', null, el('th', '', 'Stage'), ...first.bars.map((bar) => el('th', 'n', `p${bar.p}`)));
    at('stages').tHead.replaceChildren(head);
    at('stages').tBodies[0].replaceChildren(...stages.map((stage, i) => {
      const swatch = el('i', 'swatch');
      swatch.style.background = `var(--stage${i})`;
      return el('tr', '', null, el('td', '', null, swatch, stage), ...first.bars.map(() => el('td', 'n')));
    }));
  }
  first.bars.forEach((bar, i) => {
    fillBar(stack.children[i * 3 + 1], bar.stages_ms.map((length, s) => [length / longest, `stage${s}`, `${stages[s]}: ${ms(length)}`]));
    stack.children[i * 3 + 2].textContent = ms(bar.ms);
    bar.stages_ms.forEach((length, s) => {
      at('stages').tBodies[0].rows[s].cells[i + 1].textContent = ms(length);
    });
  });
}

/** One child of `place` for each item, made once. */
function each(place, items, id, make, update) {
  const known = new Map([...place.children].map((child) => [child.dataset.id, child]));
  const children = items.map((item) => {
    const name = String(id(item));
    const child = known.get(name) ?? make(item);
    child.dataset.id = name;
    update(child, item);
    return child;
  });
  if (children.length !== place.children.length || children.some((child, i) => place.children[i] !== child)) place.replaceChildren(...children);
}

function showShards(shards) {
  const make = () => {
    const svg = () => {
      const drawing = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      drawing.setAttribute('class', 'spark');
      return drawing;
    };
    const list = el('dl', '', null, el('dt', '', 'busy'), svg(), el('dd', 'n'), el('dt', '', 'late'), svg(), el('dd', 'n'));
    return el('div', 'shard', null, el('h3', '', null, el('b'), el('span')), list, el('p', 'note'));
  };
  each(at('shards'), shards, (shard) => shard.shard, make, (card, shard) => {
    const [head, list, note] = card.children, [name, who] = head.children, [, busyLine, busy, , lateLine, late] = list.children;
    const known = past.shards.find((one) => one.shard === shard.shard);
    name.textContent = `Shard ${shard.shard}`;
    who.textContent = `${count(shard.connections)} devices · ${count(shard.speaking)} speaking`;
    busy.textContent = percent(shard.busy);
    busy.className = shard.busy > 0.85 ? 'n bad' : 'n';
    late.textContent = ms(shard.late_ms);
    late.className = shard.late_ms > lateMs ? 'n bad' : 'n';
    note.textContent = `on a core ${percent(shard.cpu)}, ready but without one ${percent(shard.run_delay)}`;
    const given = [, 'no hedges', 'no newcomers', 'turns are limited', 'idlers are sent away'][shard.level];
    note.textContent += given ? ` · load ${shard.load}: ${given}` : ` · load ${shard.load}`;
    note.className = shard.level > 0 || shard.run_delay > 0.05 ? 'note warn' : 'note';
    spark(busyLine, known.busy, { top: 1, room: Math.max(60, past.at_ms.length) });
    spark(lateLine, known.late_ms, { top: 1, shade: 'stage4', room: Math.max(60, past.at_ms.length) });
  });
}

function showPools(pools) {
  const make = () => el('div', 'pool', null, el('h3', '', null, el('span'), el('span', 'pill')), el('p', 'who'), el('div', 'chips'), el('ul', 'key'));
  const order = ['asr', 'llm', 'tts'], names = { asr: 'Recognition', llm: 'Language model', tts: 'Speech' };
  const shown = pools.filter(({ pool }) => order.includes(pool)).sort((a, b) => order.indexOf(a.pool) - order.indexOf(b.pool));
  each(at('pools'), shown, (pool) => pool.pool, make, (card, pool) => {
    const [head, who, chips, facts] = card.children, { ok, cancelled, ...errors } = pool.results;
    const failed = Object.values(errors).reduce((sum, n) => sum + n, 0), share = failed / Math.max(1, failed + ok);
    const step = [, 'on the backup', 'kept speech only', 'text only', 'offline answers'][pool.degraded ?? 0], isDown = pool.providers.some(({ state }) => state > 0);
    const [kind, word] = step ? ['bad', step] : isDown ? ['warn', 'recovering'] : ok + failed === 0 ? ['', 'no calls'] : share > 0.1 ? ['bad', 'failing'] : failed ? ['warn', 'errors'] : ['good', 'healthy'];
    head.firstChild.textContent = names[pool.pool];
    head.lastChild.className = `pill ${kind}`;
    head.lastChild.textContent = word;
    who.textContent = providers.find(([stage]) => stage === pool.pool)?.[1] ?? pool.pool;
    const results = [['ok', ok, 'good'], ...Object.entries(errors).map(([name, n]) => [name, n, 'bad']), ['cancelled', cancelled, '']];
    chips.replaceChildren(...results.filter(([name, n]) => n || name === 'ok').map(([name, n, shade]) => el('span', `chip ${n ? shade : ''}`, `${count(n)} ${name}`)));
    const fact = (name, value) => el('li', '', null, `${name} `, el('b', '', value));
    facts.replaceChildren(fact('wait', ms(pool.wait_ms)), fact('first result', ms(pool.first_ms)), fact('whole job', ms(pool.job_ms)),
      ...pool.providers.filter(({ state }) => pool.providers.length > 1 || state > 0).map(({ name, state }) => fact(name, ['well', 'being tried', 'left to recover'][state])),
      fact('at work', `${count(pool.busy)} of ${count(pool.threads)}`), fact('cores', pool.cores === null ? '–' : pool.cores.toFixed(2)));
  });
}

function showQueues(queues) {
  const make = () => el('div', 'meter', null, el('span'), el('div', 'bar'), el('span', 'n'));
  each(at('queues'), queues, (queue) => queue.name, make, (row, { name, depth, bound }) => {
    const [label, bar, value] = row.children, isBytes = name.endsWith(', bytes'), show = isBytes ? bytes : count;
    const share = bound ? Math.min(1, depth / bound) : 0;
    label.textContent = name.replace(', bytes', '');
    fillBar(bar, [[depth ? Math.max(share, 0.01) : 0, share > 0.8 ? 'bad' : share > 0.4 ? 'warn' : 'accent', `${percent(share)} of ${show(bound)}`]]);
    value.replaceChildren(el('b', '', show(depth)), ` of ${show(bound)}`);
  });
}

function showDrops({ drops, ended }) {
  const words = (text) => text.replaceAll('_', ' ');
  const rows = [
    ...drops.map((drop) => [`${words(drop.item)}: ${words(drop.cause)}`, drop, drop.minute > 0]),
    ...ended.map((end) => [`ended: ${words(end.cause)}`, end, false]),
  ];
  if (!rows.length) return at('drops').replaceChildren(el('p', 'note', 'Nothing was dropped, and no connection has ended.'));
  const head = el('tr', '', null, el('th', '', 'What and why'), el('th', 'n', 'Last minute'), el('th', 'n', 'Since start'));
  const body = el('tbody', '', null, ...rows.map(([name, { minute, total }, isNews]) =>
    el('tr', '', null, el('td', '', name), el('td', isNews ? 'n warn' : 'n', count(minute)), el('td', 'n', count(total)))));
  at('drops').replaceChildren(el('table', '', null, el('thead', '', null, head), body));
}

function span(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

watch();
