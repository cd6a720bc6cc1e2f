import { SdkError } from '../../errors.ts'
import { mysqlDialect } from './mysql-dialect.ts'
import { postgresDialect } from './postgres-dialect.ts'
import { sqliteDialect } from './sqlite-dialect.ts'
import type { Dialect } from './dialect.ts'
import type { SqlDialectName } from './driver.ts'

const DIALECTS: Readonly<Partial<Record<SqlDialectName, Dialect>>> = {
  postgres: postgresDialect,
  sqlite: sqliteDialect,
  mysql: mysqlDialect,
  mariadb: mysqlDialect,
}

/** @throws {SdkError} `invalid_declaration` */
export function dialectOf(name: SqlDialectName): Dialect {
  const dialect = DIALECTS[name]
  if (dialect !== undefined) return dialect
  throw new SdkError(
    'invalid_declaration',
    `there is no store in ${name}: it is one of ${Object.keys(DIALECTS).join(', ')}`,
  )
}
