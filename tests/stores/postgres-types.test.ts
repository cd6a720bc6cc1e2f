import { expectTypeOf, test } from 'vitest'
import type { Pool, PoolClient } from 'pg'
import type { Sql, TransactionSql } from 'postgres'
import type { PgClientOf, PostgresTransactionOf } from '@stathmos/sdk/stores/postgres'

test('handlers get the transaction that users of the client know', () => {
  expectTypeOf<PgClientOf<Pool>>().toEqualTypeOf<PoolClient>()
  expectTypeOf<PostgresTransactionOf<Sql>>().toEqualTypeOf<TransactionSql>()
})
