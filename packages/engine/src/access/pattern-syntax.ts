import { EngineError } from '../errors.ts'

/** A set of code points: ranges with both ends included, or all but those. */
export interface CodePoints {
  readonly negated: boolean
  readonly ranges: readonly (readonly [low: number, high: number])[]
}

/** What a pattern says, as a tree. */
export type Syntax =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'set'; readonly set: CodePoints }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Syntax[] }
  | { readonly kind: 'repeat'; readonly part: Syntax; readonly min: number; readonly max: number }
  | { readonly kind: 'ahead'; readonly part: Syntax; readonly negated: boolean }

/** Longest pattern, in UTF-16 units. Room for a long list of names; more belongs into several users. */
export const PATTERN_CHARS_MAX = 1024

/** Deepest nesting of groups: bounds the recursion of parser and compiler. */
export const PATTERN_DEPTH_MAX = 32

/** Highest number in a counted repetition, `{n}`. */
const PATTERN_REPEAT_MAX = 255

const NOTHING: Syntax = { kind: 'nothing' }
const LAST_CODE_POINT = 0x10ffff
const NEWLINE = 0x0a

const DIGITS: CodePoints['ranges'] = [[0x30, 0x39]]
const WORD: CodePoints['ranges'] = [...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]
const SPACES: CodePoints['ranges'] = [
  [0x09, 0x0d],
  [0x20, 0x20],
]
const CLASSES: ReadonlyMap<string, CodePoints['ranges']> = new Map([
  ['d', DIGITS],
  ['w', WORD],
  ['s', SPACES],
])
const CONTROLS: ReadonlyMap<string, number> = new Map([
  ['n', 0x0a],
  ['r', 0x0d],
  ['t', 0x09],
  ['f', 0x0c],
  ['0', 0],
])

/**
 * Reads a pattern: literals, `.` (anything but a newline), `[…]` with ranges and `^`, `\d \w \s` and their opposites,
 * `^` and `$`, `(…)`, `(?:…)`, `|`, `* + ? {n} {n,} {n,m}` (a further `?` is allowed and says nothing, since only
 * whether a name matches is asked), and lookahead, `(?=…)` and `(?!…)`. What cannot be matched in linear
 * time or is not needed for names is refused: back references, lookbehind, possessive repeats, inline flags, named groups.
 *
 * @throws {EngineError} `invalid_argument` that says what is wrong and where
 */
export function parsePattern(source: string): Syntax {
  if (source.length > PATTERN_CHARS_MAX) {
    throw new EngineError(
      'invalid_argument',
      `a pattern has at most ${PATTERN_CHARS_MAX} characters, not ${source.length}`,
    )
  }
  return new Parser(source).parse()
}

class Parser {
  readonly #source: string
  readonly #chars: readonly string[]
  #at = 0
  #depth = 0

  constructor(source: string) {
    this.#source = source
    this.#chars = Array.from(source)
  }

  parse(): Syntax {
    const syntax = this.#choice()
    if (this.#at < this.#chars.length) this.#refuse('")" without "("')
    return syntax
  }

  #choice(): Syntax {
    const parts = [this.#sequence()]
    while (this.#take('|')) parts.push(this.#sequence())
    if (parts.every((part) => part.kind === 'nothing')) return NOTHING
    return parts.length === 1 ? parts[0]! : { kind: 'choice', parts }
  }

  #sequence(): Syntax {
    const parts: Syntax[] = []
    while (this.#at < this.#chars.length && this.#peek() !== '|' && this.#peek() !== ')') {
      const part = this.#repeats(this.#atom())
      // Dropping what says nothing bounds the compiler: each part left makes at least one instruction.
      if (part.kind !== 'nothing') parts.push(part)
    }
    if (parts.length === 0) return NOTHING
    return parts.length === 1 ? parts[0]! : { kind: 'sequence', parts }
  }

  #repeats(atom: Syntax): Syntax {
    const count = this.#count()
    if (count === null) return atom
    this.#take('?')
    if (this.#peek() === '+') this.#refuse('a possessive repeat, which is not supported')
    if (this.#peek() === '*' || this.#peek() === '?' || this.#peekCount() !== null) this.#refuse('a repeat of a repeat')
    const [min, max] = count
    if (atom.kind === 'nothing' || max === 0) return NOTHING
    return { kind: 'repeat', part: atom, min, max }
  }

  #count(): readonly [min: number, max: number] | null {
    if (this.#take('*')) return [0, Infinity]
    if (this.#take('+')) return [1, Infinity]
    if (this.#take('?')) return [0, 1]
    const braces = this.#peekCount()
    if (braces === null) return null
    this.#at += braces[0].length
    const min = Number(braces[1])
    const max = braces[2] === undefined ? min : braces[3] === '' ? Infinity : Number(braces[3])
    if (min > PATTERN_REPEAT_MAX || (max !== Infinity && max > PATTERN_REPEAT_MAX)) {
      this.#refuse(`a repeat of more than ${PATTERN_REPEAT_MAX} times`)
    }
    if (min > max) this.#refuse('a repeat whose lowest count is above its highest')
    return [min, max]
  }

  /** A brace that does not count is a literal, as everywhere in this syntax. */
  #peekCount(): RegExpExecArray | null {
    if (this.#peek() !== '{') return null
    return /^\{(\d{1,6})(,(\d{0,6}))?\}/.exec(this.#chars.slice(this.#at, this.#at + 16).join(''))
  }

  #atom(): Syntax {
    const char = this.#next()
    switch (char) {
      case '^':
        return { kind: 'start' }
      case '$':
        return { kind: 'end' }
      case '.':
        return { kind: 'set', set: { negated: true, ranges: [[NEWLINE, NEWLINE]] } }
      case '(':
        return this.#group()
      case '[':
        return { kind: 'set', set: this.#class() }
      case '\\':
        return { kind: 'set', set: this.#escape() }
      case '*':
      case '+':
      case '?':
        return this.#refuse(`"${char}" with nothing to repeat`)
      default:
        return { kind: 'set', set: only(char) }
    }
  }

  #group(): Syntax {
    if (++this.#depth > PATTERN_DEPTH_MAX) this.#refuse(`groups nested deeper than ${PATTERN_DEPTH_MAX}`)
    let ahead: 'is' | 'is not' | null = null
    if (this.#take('?')) {
      const sign = this.#next()
      if (sign === '=') ahead = 'is'
      else if (sign === '!') ahead = 'is not'
      else if (sign !== ':') this.#refuse(`"(?${sign}", which is not supported`)
    }
    const part = this.#choice()
    if (!this.#take(')')) this.#refuse('"(" without ")"')
    this.#depth--
    return ahead === null ? part : { kind: 'ahead', part, negated: ahead === 'is not' }
  }

  #class(): CodePoints {
    const negated = this.#take('^')
    const ranges: (readonly [number, number])[] = []
    // A bracket that comes first is a member.
    let first = true
    while (first || this.#peek() !== ']') {
      first = false
      const low = this.#member()
      if (this.#peek() !== '-' || this.#peek(1) === ']' || this.#peek(1) === undefined) {
        ranges.push(...low)
        continue
      }
      this.#at++
      const high = this.#member()
      if (!isSingle(low) || !isSingle(high) || low[0][0] > high[0][0]) this.#refuse('a range whose ends make no sense')
      ranges.push([low[0][0], high[0][0]])
    }
    this.#at++
    return { negated, ranges }
  }

  #member(): CodePoints['ranges'] {
    const char = this.#next('"[" without "]"')
    if (char === '[' && (this.#peek() === ':' || this.#peek() === '.' || this.#peek() === '=')) {
      this.#refuse('a named class, which is not supported')
    }
    if (char !== '\\') return only(char).ranges
    const set = this.#escape()
    return set.negated ? complement(set.ranges) : set.ranges
  }

  #escape(): CodePoints {
    const char = this.#next('"\\" with nothing to escape')
    const ranges = CLASSES.get(char) ?? CLASSES.get(char.toLowerCase())
    if (ranges !== undefined) return { negated: char !== char.toLowerCase(), ranges }
    const control = CONTROLS.get(char)
    if (control !== undefined) return { negated: false, ranges: [[control, control]] }
    if (/[A-Za-z0-9]/.test(char)) this.#refuse(`"\\${char}", which is not supported`)
    return only(char)
  }

  #peek(ahead = 0): string | undefined {
    return this.#chars[this.#at + ahead]
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false
    this.#at++
    return true
  }

  #next(missing = 'an end where more must follow'): string {
    const char = this.#chars[this.#at]
    if (char === undefined) return this.#refuse(missing)
    this.#at++
    return char
  }

  #refuse(what: string): never {
    throw new EngineError('invalid_argument', `pattern "${this.#source}" has ${what}, at character ${this.#at}`, {
      pattern: this.#source,
      at: this.#at,
    })
  }
}

function only(char: string): CodePoints {
  const point = char.codePointAt(0)!
  return { negated: false, ranges: [[point, point]] }
}

function isSingle(ranges: CodePoints['ranges']): ranges is readonly [readonly [number, number]] {
  return ranges.length === 1 && ranges[0]![0] === ranges[0]![1]
}

/** @param ranges ascending and apart, as those of the named classes are */
function complement(ranges: CodePoints['ranges']): CodePoints['ranges'] {
  const rest: (readonly [number, number])[] = []
  let from = 0
  for (const [low, high] of ranges) {
    if (low > from) rest.push([from, low - 1])
    from = high + 1
  }
  rest.push([from, LAST_CODE_POINT])
  return rest
}
