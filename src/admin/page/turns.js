// The last turns: one line each, and behind a click the waterfall of its milestones.
'use strict';

import { clock, count, el, fillBar, ms } from './charts.js';

const SHOWN = 50;
const SHADES = { complete: 'good', failed: 'bad', empty: '', aborted: 'warn', 'barge-in': 'warn', closed: '' };
const MILESTONES = ['end_of_utterance', 'final_transcript', 'first_token', 'first_sentence', 'first_audio_ready', 'first_audio'];

export class Turns {
  constructor(place, resume) {
    Object.assign(this, { place, resume, turns: [], waiting: 0, open: null, stages: [] });
    resume.addEventListener('click', () => {
      this.open = null;
      this.draw();
    });
  }

  /** All of them anew, newest first. */
  reset(turns, stages) {
    this.stages = stages;
    this.turns = turns;
    if (this.open === null) this.draw();
  }

  /** Some more, newest first. While one is looked at, the list stands still. */
  add(turns) {
    if (!turns.length) return;
    this.turns = [...turns, ...this.turns].slice(0, SHOWN);
    if (this.open === null) return this.draw();
    this.waiting += turns.length;
    this.resume.textContent = `${count(this.waiting)} new: go on`;
    this.resume.hidden = false;
  }

  draw() {
    this.waiting = 0;
    this.resume.hidden = true;
    if (!this.turns.length) return;
    const head = el('div', 'turn head');
    for (const [name, text] of [['time', 'Ended'], ['device', 'Device'], ['', 'Outcome'], ['lang', ''], ['n', 'First audio'], ['what', 'What was waited for'], ['len', 'Reply']]) {
      head.append(el('span', name, text));
    }
    const longest = Math.max(1, ...this.turns.map((turn) => firstAudio(turn) ?? 0));
    this.place.replaceChildren(head, ...this.turns.map((turn) => this.line(turn, longest)));
  }

  line(turn, longest) {
    const row = el('button', 'turn'), end = turn.cause ? `${turn.stage} ${turn.cause}` : turn.end;
    row.type = 'button';
    row.setAttribute('aria-expanded', 'false');
    const device = el('span', 'device', turn.device), bar = el('span', 'bar');
    device.title = turn.device;
    const waits = this.waits(turn);
    fillBar(bar, waits.map(([name, length], i) => [length / longest, `stage${i}`, `${name}: ${ms(length)}`]));
    const played = reply(turn);
    row.append(
      el('span', 'time', clock(turn.ended_at_ms)), device, el('span', '', null, el('span', `chip ${SHADES[turn.end] ?? ''}`, end)),
      el('span', 'lang', turn.language ?? ''), el('span', 'n', ms(firstAudio(turn))), bar,
      el('span', 'len', played === null ? '' : ms(played)),
    );
    row.addEventListener('click', () => this.toggle(row, turn));
    return row;
  }

  toggle(row, turn) {
    const was = row.getAttribute('aria-expanded') === 'true';
    this.place.querySelectorAll('.fall').forEach((fall) => fall.remove());
    this.place.querySelectorAll('.turn[aria-expanded="true"]').forEach((other) => other.setAttribute('aria-expanded', 'false'));
    this.open = was ? null : turn;
    if (was) {
      if (this.waiting) this.draw();
      return;
    }
    row.setAttribute('aria-expanded', 'true');
    row.after(this.fall(turn));
  }

  /** Each stage of the wait with its length; what came early or was passed over took no time. */
  waits(turn) {
    const whole = firstAudio(turn);
    let before = 0;
    return this.stages.map((name, i) => {
      let at = turn.milestones_ms[MILESTONES[i]] ?? before;
      at = Math.max(before, whole === undefined ? at : Math.min(at, whole));
      const wait = [name, at - before, before, turn.milestones_ms[MILESTONES[i]]];
      before = at;
      return wait;
    });
  }

  /** The waterfall. */
  fall(turn) {
    const fall = el('div', 'fall'), facts = el('p', 'facts');
    const fact = (name, value) => facts.append(el('span', '', null, `${name} `, el('b', '', value)));
    fact('Turn', count(turn.turn));
    fact('Shard', count(turn.shard));
    fact('Speech', ms(turn.speech_ms));
    fact('Understood', turn.heard_bytes ? `${count(turn.heard_bytes)} bytes` : 'typed, or nothing');
    fact('Said', `${count(turn.sentences)} sentence${turn.sentences === 1 ? '' : 's'}, ${count(turn.said_bytes)} bytes`);
    if (turn.underruns) fact('Ran dry', `${turn.underruns} times`);
    const first = firstAudio(turn), played = reply(turn) ?? 0;
    const wait = first ?? turn.length_ms, rest = Math.max(0, turn.length_ms - wait - played);
    const all = turn.speech_ms + wait + played + rest || 1;
    const whole = el('div', 'whole');
    fillBar(whole, [
      [turn.speech_ms / all, 'listening', `speech: ${ms(turn.speech_ms)}`], [wait / all, 'thinking', `wait: ${ms(wait)}`],
      [played / all, 'speaking', `reply: ${ms(played)}`], [rest / all, 'track', `end: ${ms(rest)}`],
    ]);
    const ends = el('div', 'ends', null, el('span', '', `speech ${ms(turn.speech_ms)}`), el('span', '', `wait ${ms(wait)}`),
      el('span', '', first === undefined ? `ended after ${ms(turn.length_ms)}` : `reply ${ms(played)}`));
    fall.append(facts, whole, ends);
    const waits = this.waits(turn), scale = first ?? Math.max(1, ...waits.map(([, length, from]) => from + length));
    waits.forEach(([name, length, from, at], i) => {
      const lane = el('span', 'lane'), part = el('i');
      part.style.left = `${Math.min(99.5, (from / scale) * 100)}%`;
      part.style.width = `${(length / scale) * 100}%`;
      part.style.background = `var(--stage${i})`;
      if (at !== undefined) lane.append(part);
      const length_ = at === undefined ? '–' : ms(length), when = at === undefined ? 'not reached' : `at ${ms(at)}`;
      fall.append(el('div', 'step', null, el('span', '', name), lane, el('span', 'n', length_), el('span', 'n soft', when)));
    });
    return fall;
  }
}

const firstAudio = (turn) => turn.milestones_ms.first_audio;

/** How long the reply played; null where there was none, or it was broken off. */
function reply(turn) {
  const { first_audio: from, reply_end: to } = turn.milestones_ms;
  if (from === undefined) return null;
  return Math.max(0, (to ?? turn.length_ms) - from);
}
