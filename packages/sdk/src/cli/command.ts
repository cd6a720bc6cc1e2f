import type { AppOperations } from './app-operations.ts'
import type { Flags } from './flags.ts'

/** The world outside of a command. */
export interface CommandIo {
  /** What was asked for. */
  out(text: string): void
  /** What goes beside it: notes, and what went wrong. */
  err(text: string): void
  /** Where relative paths begin. */
  readonly cwd: string
}

/** What a command is given. */
export interface Invocation {
  readonly app: AppOperations
  readonly flags: Flags
  /** What follows the command's name. */
  readonly words: readonly string[]
  readonly io: CommandIo
}

/** Does its work and says whether it found everything well. */
export type Command = (invocation: Invocation) => Promise<boolean>

/** For programs a value, for people a text. */
export function tell({ flags, io }: Pick<Invocation, 'flags' | 'io'>, value: unknown, text: () => string): void {
  io.out(flags.json === true ? `${JSON.stringify(value, printable, 2)}\n` : text())
}

/** Bodies are bytes, which JSON has not: they are told in base64. What drivers give for them has a `toJSON` that came before. */
function printable(this: Readonly<Record<string, unknown>>, name: string, value: unknown): unknown {
  const own = this[name]
  if (own instanceof Uint8Array) return Buffer.from(own).toString('base64')
  return typeof value === 'bigint' ? value.toString() : value
}
