// Services that use the SDK die as an everyday event, and so does their broker: in short. The long form is
// node tests/torture/sdk/torture.mjs --cycles 300 --store postgres
import { describe, expect, test } from 'vitest'
import { noPostgres } from '../peers/postgres.ts'
import { noBetterSqlite } from '../peers/sqlite.ts'
import { torture } from '../torture/sdk/torture.mjs'

/** STATHMOS_TORTURE_CYCLES=100 for a longer run, 0 for none. */
const CYCLES = Number(process.env['STATHMOS_TORTURE_CYCLES'] ?? 10)
/** A cycle takes about a second, and draining as long as the leases of the dead; a loaded machine gets its time. */
const timeout = 300_000 + CYCLES * 10_000
/** Any other: a failure says which. */
const seed = Date.now() % 1_000_000

const STORES = [
  { store: 'sqlite', missing: noBetterSqlite },
  { store: 'postgres', missing: noPostgres },
] as const

// At the same time: most of it is waiting.
describe.skipIf(CYCLES === 0).concurrent('after kills of sellers, clerks and broker', { timeout }, () => {
  for (const { store, missing } of STORES)
    test.skipIf(missing !== null)(
      `each order is booked and invoiced once, in its customer's order: ${missing ?? store}`,
      async () => {
        const { violations, drained, unexpected, orders } = await torture({ cycles: CYCLES, store, seed })
        expect({ violations, drained, unexpected }, `seed ${seed}`).toEqual({
          violations: [],
          drained: true,
          unexpected: 0,
        })
        expect(orders).toBeGreaterThan(CYCLES * 10)
      },
    )

  test.skipIf(noBetterSqlite !== null)(
    `a service that accepts what it has not committed is found out${noBetterSqlite === null ? '' : `: ${noBetterSqlite}`}`,
    async () => {
      const { violations } = await torture({
        cycles: 4,
        store: 'sqlite',
        seed,
        sabotage: 'accept-first',
        patienceMs: 15_000,
      })
      expect(violations).toContainEqual(expect.stringMatching(/^never (booked|invoiced): /))
    },
  )
})
