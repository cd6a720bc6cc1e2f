/** What the exit code of a command says. */
export const EXIT = {
  ok: 0,
  failure: 1,
  /** The command line or the settings cannot be used. */
  usage: 2,
} as const
