import { BUCKETS } from '../../message/bucket.ts'
import { raw, sql } from './fragment.ts'
import { numberIn, textIn, textOrNullIn } from './row.ts'
import type { BucketLease } from '../port.ts'
import type { Database } from './database.ts'
import type { SqlRow, SqlSession } from './driver.ts'

/** The shares of the outbox that relays lease. All lock the same rows, so that one decides after the other. */
export class Buckets<Tx> {
  readonly #db: Database<Tx>

  constructor(db: Database<Tx>) {
    this.#db = db
  }

  lease(owner: string, leaseMs: number): Promise<readonly BucketLease[]> {
    return this.#db.together(async (session) => {
      const all = await this.#locked(session)
      const now = numberIn(all[0]!, 'now_ms')
      const until = now + leaseMs
      const owners = await this.#sign(session, owner, until)
      const share = Math.ceil(BUCKETS / owners)
      const mine = all.filter((row) => textOrNullIn(row, 'owner') === owner)
      const free = all.filter((row) => textOrNullIn(row, 'owner') !== owner && numberIn(row, 'lease_until') <= now)
      const kept = mine.slice(0, share)
      const taken = free.slice(0, Math.max(share - kept.length, 0))
      await this.#give(session, mine.slice(share))
      await this.#take(session, owner, until, kept, 0)
      await this.#take(session, owner, until, taken, 1)
      return [
        ...kept.map((row) => ({ bucket: numberIn(row, 'bucket'), epoch: numberIn(row, 'epoch') })),
        ...taken.map((row) => ({ bucket: numberIn(row, 'bucket'), epoch: numberIn(row, 'epoch') + 1 })),
      ]
    })
  }

  async owners(): Promise<readonly string[]> {
    const { names, now } = this.#db
    const rows = await this.#db.run(null, sql`select owner from ${raw(names.owner)} where seen_until > ${now}`)
    return rows.map((row) => textIn(row, 'owner'))
  }

  unlease(owner: string): Promise<void> {
    return this.#db.together(async (session) => {
      const { names } = this.#db
      await this.#give(
        session,
        (await this.#locked(session)).filter((row) => textOrNullIn(row, 'owner') === owner),
      )
      await this.#db.run(session, sql`delete from ${raw(names.owner)} where owner = ${owner}`)
    })
  }

  #locked(session: SqlSession): Promise<readonly SqlRow[]> {
    const lock = raw(this.#db.dialect.forUpdate)
    return this.#db.run(
      session,
      sql`select bucket, owner, epoch, lease_until, ${this.#db.now} as now_ms from ${raw(this.#db.names.bucket)}
        order by bucket${lock}`,
    )
  }

  /** Notes that the owner is there and forgets who was not seen for a lease. @returns how many there are */
  async #sign(session: SqlSession, owner: string, until: number): Promise<number> {
    const { dialect, names, now } = this.#db
    await this.#db.run(session, sql`delete from ${raw(names.owner)} where seen_until <= ${now}`)
    await this.#db.run(
      session,
      dialect.upsert(names.owner, ['owner', 'seen_until'], sql`select ${owner}, ${until}`, ['owner'], (row) => ({
        seen_until: row.new('seen_until'),
      })),
    )
    const [row] = await this.#db.run(session, sql`select count(*) as owners from ${raw(names.owner)}`)
    return numberIn(row!, 'owners')
  }

  async #take(
    session: SqlSession,
    owner: string,
    until: number,
    rows: readonly SqlRow[],
    epochs: number,
  ): Promise<void> {
    if (rows.length === 0) return
    await this.#db.run(
      session,
      sql`update ${raw(this.#db.names.bucket)} set owner = ${owner}, lease_until = ${until}, epoch = epoch + ${epochs}
        where bucket in ${bucketList(rows)}`,
    )
  }

  /** The epoch stays: what the earlier owner has just sent it may still say, until somebody else begins. */
  async #give(session: SqlSession, rows: readonly SqlRow[]): Promise<void> {
    if (rows.length === 0) return
    await this.#db.run(
      session,
      sql`update ${raw(this.#db.names.bucket)} set owner = null, lease_until = 0 where bucket in ${bucketList(rows)}`,
    )
  }
}

function bucketList(rows: readonly SqlRow[]): ReturnType<typeof raw> {
  return raw(`(${rows.map((row) => numberIn(row, 'bucket')).join(', ')})`)
}
