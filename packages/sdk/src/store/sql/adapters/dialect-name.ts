import { SdkError } from '../../../errors.ts'
import type { SqlDialectName } from '../driver.ts'

/** What a store over a library of the user's takes beside the library's handle. */
export interface AdapterOptions {
  /** Which SQL the handle speaks, where it cannot be seen: MariaDB looks like MySQL, which does for both. */
  readonly dialect?: SqlDialectName
}

const WORDS: readonly (readonly [RegExp, SqlDialectName])[] = [
  [/maria/i, 'mariadb'],
  [/mysql/i, 'mysql'],
  [/postgres|^pg/i, 'postgres'],
  [/sqlite|sqljs|libsql/i, 'sqlite'],
]

/**
 * @param word by which the library calls its database
 * @throws {SdkError} `invalid_declaration` when it stands for none that the store speaks
 */
export function dialectNamed(word: unknown, library: string, options: AdapterOptions): SqlDialectName {
  if (options.dialect !== undefined) return options.dialect
  const found = typeof word === 'string' ? WORDS.find(([pattern]) => pattern.test(word)) : undefined
  if (found !== undefined) return found[1]
  throw new SdkError(
    'invalid_declaration',
    `this ${library} handle does not say whether it speaks PostgreSQL, MySQL, MariaDB or SQLite (${String(word)}); ` +
      'if it does, name it with the option dialect',
  )
}
