import { EngineError } from '../errors.ts'
import type { CodePoints, Syntax } from './pattern-syntax.ts'

/** One step of a program; `next` and `other` are the numbers of the steps that follow. */
export type Step =
  | { readonly op: 'set'; readonly set: CodePoints; next: number }
  | { readonly op: 'start' | 'end'; next: number }
  | { readonly op: 'fork'; next: number; other: number }
  /** The steps from `body` to the match step `end` must (not) match from here; nothing is consumed. */
  | { readonly op: 'ahead'; readonly body: number; end: number; readonly negated: boolean; next: number }
  | { readonly op: 'match' }

/** A compiled pattern: begins with step 0, ends with the last one. */
export interface Program {
  readonly steps: readonly Step[]
  /** By step, the steps that it follows. */
  readonly before: readonly (readonly number[])[]
}

/**
 * Most steps of a program. With the name lengths of the protocols it bounds one evaluation to well under a
 * million states, the counted repeats of a short pattern included.
 */
const PATTERN_STEPS_MAX = 1280

/**
 * Turns syntax into a program, in which a part with a counted repeat is written out as often as it counts.
 *
 * @throws {EngineError} `invalid_argument` when it would have more than {@link PATTERN_STEPS_MAX} steps
 */
export function compilePattern(syntax: Syntax): Program {
  const compiler = new Compiler()
  compiler.emit(syntax)
  compiler.push({ op: 'match' })
  const before: number[][] = compiler.steps.map(() => [])
  compiler.steps.forEach((step, number) => {
    if (step.op === 'match') return
    before[step.next]!.push(number)
    if (step.op === 'fork' && step.other !== step.next) before[step.other]!.push(number)
  })
  return { steps: compiler.steps, before }
}

class Compiler {
  readonly steps: Step[] = []
  /** By set, its ordered form: a counted repeat writes the same set many times. */
  readonly #sets = new Map<CodePoints, CodePoints>()

  /** Emits steps that go on, when they succeed, with whatever is emitted next. */
  emit(syntax: Syntax): void {
    switch (syntax.kind) {
      case 'nothing':
        return
      case 'set':
        this.push({ op: 'set', set: this.#ordered(syntax.set), next: this.steps.length + 1 })
        return
      case 'start':
      case 'end':
        this.push({ op: syntax.kind, next: this.steps.length + 1 })
        return
      case 'sequence':
        for (const part of syntax.parts) this.emit(part)
        return
      case 'choice':
        this.#choice(syntax.parts)
        return
      case 'repeat':
        this.#repeat(syntax.part, syntax.min, syntax.max)
        return
      case 'ahead':
        this.#ahead(syntax.part, syntax.negated)
    }
  }

  push<S extends Step>(step: S): S {
    if (this.steps.length === PATTERN_STEPS_MAX) {
      throw new EngineError(
        'invalid_argument',
        `a pattern has at most ${PATTERN_STEPS_MAX} steps, counted repeats written out`,
      )
    }
    this.steps.push(step)
    return step
  }

  #ordered(set: CodePoints): CodePoints {
    let known = this.#sets.get(set)
    if (known === undefined) this.#sets.set(set, (known = ordered(set)))
    return known
  }

  #fork(): Extract<Step, { op: 'fork' }> {
    return this.push({ op: 'fork', next: this.steps.length + 1, other: -1 })
  }

  #choice(parts: readonly Syntax[]): void {
    const exits: { other: number }[] = []
    parts.forEach((part, index) => {
      if (index === parts.length - 1) {
        this.emit(part)
        return
      }
      const fork = this.#fork()
      this.emit(part)
      exits.push(this.#jump())
      fork.other = this.steps.length
    })
    for (const exit of exits) exit.other = this.steps.length
  }

  /** A fork both of whose ways are the same: `other`, set later. */
  #jump(): { other: number } {
    const jump = this.push({ op: 'fork', next: -1, other: -1 })
    return {
      set other(target: number) {
        jump.next = target
        jump.other = target
      },
    }
  }

  #repeat(part: Syntax, min: number, max: number): void {
    for (let count = 0; count < min; count++) this.emit(part)
    if (max === Infinity) {
      const at = this.steps.length
      const fork = this.#fork()
      this.emit(part)
      this.#jump().other = at
      fork.other = this.steps.length
      return
    }
    const forks: { other: number }[] = []
    for (let count = min; count < max; count++) {
      forks.push(this.#fork())
      this.emit(part)
    }
    for (const fork of forks) fork.other = this.steps.length
  }

  #ahead(part: Syntax, negated: boolean): void {
    const at = this.steps.length
    const ahead = this.push({ op: 'ahead', body: at + 1, end: -1, negated, next: -1 })
    this.emit(part)
    ahead.end = this.steps.length
    this.push({ op: 'match' })
    ahead.next = this.steps.length
  }
}

/**
 * Whether the program matches anywhere in the name. It is followed backwards, from its end at every position, through
 * each pair of step and position at most once: linear in name × pattern, and no pattern can make it explode.
 */
export function runProgram({ steps, before }: Program, name: string): boolean {
  const points = Array.from(name, (char) => char.codePointAt(0)!)
  const run = new Run(steps, before, points)
  run.search(steps.length - 1)
  for (let position = 0; position <= points.length; position++) {
    if (run.leads(0, position)) return true
  }
  return false
}

class Run {
  readonly #steps: readonly Step[]
  readonly #before: readonly (readonly number[])[]
  readonly #points: readonly number[]
  readonly #width: number
  /** Pairs of step and position from which the end of their part, a lookahead or the whole, can be reached. */
  readonly #leading: Uint8Array
  readonly #searched = new Set<number>()

  constructor(steps: readonly Step[], before: readonly (readonly number[])[], points: readonly number[]) {
    this.#steps = steps
    this.#before = before
    this.#points = points
    this.#width = points.length + 1
    this.#leading = new Uint8Array(steps.length * this.#width)
  }

  leads(step: number, position: number): boolean {
    return this.#leading[step * this.#width + position] === 1
  }

  /** Marks every pair that leads to the match step `end`. Lookaheads on the way are searched first; the recursion is as deep as they nest. */
  search(end: number): void {
    const width = this.#width
    const waiting: number[] = []
    for (let position = 0; position < width; position++) this.#mark(end * width + position, waiting)
    for (let pair = waiting.pop(); pair !== undefined; pair = waiting.pop()) {
      const position = pair % width
      for (const earlier of this.#before[(pair - position) / width]!) {
        const from = this.#origin(this.#steps[earlier]!, position)
        if (from >= 0) this.#mark(earlier * width + from, waiting)
      }
    }
  }

  #mark(pair: number, waiting: number[]): void {
    if (this.#leading[pair] === 1) return
    this.#leading[pair] = 1
    waiting.push(pair)
  }

  /** The position at which `step` must begin to go on at `position`, or -1 when it cannot. */
  #origin(step: Step, position: number): number {
    switch (step.op) {
      case 'set':
        return position > 0 && contains(step.set, this.#points[position - 1]!) ? position - 1 : -1
      case 'start':
        return position === 0 ? position : -1
      case 'end':
        return position === this.#points.length ? position : -1
      case 'fork':
        return position
      case 'ahead':
        return this.#looks(step, position) !== step.negated ? position : -1
      case 'match':
        return -1
    }
  }

  #looks({ body, end }: Extract<Step, { op: 'ahead' }>, position: number): boolean {
    if (!this.#searched.has(end)) {
      this.#searched.add(end)
      this.search(end)
    }
    return this.leads(body, position)
  }
}

/** @param set with its ranges in order, as compiled */
function contains({ negated, ranges }: CodePoints, point: number): boolean {
  let low = 0
  let high = ranges.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const [first, last] = ranges[middle]!
    if (point < first) high = middle - 1
    else if (point > last) low = middle + 1
    else return !negated
  }
  return negated
}

/** Sorts and joins the ranges, so that a set of many costs no more than the logarithm of their number to ask. */
function ordered({ negated, ranges }: CodePoints): CodePoints {
  const joined: [low: number, high: number][] = []
  for (const [low, high] of ranges.toSorted(([a], [b]) => a - b)) {
    const last = joined.at(-1)
    if (last !== undefined && low <= last[1] + 1) last[1] = Math.max(last[1], high)
    else joined.push([low, high])
  }
  return { negated, ranges: joined }
}
