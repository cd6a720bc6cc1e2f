import { compilePattern, runProgram } from './pattern-program.ts'
import type { Program } from './pattern-program.ts'
import { parsePattern } from './pattern-syntax.ts'

/**
 * A regular expression over names, written by an administrator, that matches in linear time whatever is written.
 * The language's own expressions backtrack: `(a|a)*b` would stop the whole broker, and no check of the text finds
 * all such patterns, so they are matched by a machine of our own (the syntax: `parsePattern`).
 *
 * It is searched for: `orders` matches every name that contains it; `^orders$` is exactly that name. The empty
 * pattern matches nothing.
 */
export class Pattern {
  readonly source: string
  readonly #program: Program | null

  /** @throws {EngineError} `invalid_argument` when the pattern is too long, too large or not understood */
  constructor(source: string) {
    this.source = source
    this.#program = source === '' ? null : compilePattern(parsePattern(source))
  }

  matches(name: string): boolean {
    return this.#program !== null && runProgram(this.#program, name)
  }
}
