import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromPrisma } from '@stathmos/sdk/stores/prisma'
import { draftOf, dueIds } from '../../packages/sdk/src/store/contract-sample.ts'
import { generatePrisma, noPrisma, type Generated, type PrismaClient, type TransactionClient } from '../peers/prisma.ts'
import { lateStatements } from './late.ts'
import { lostConnections } from './mishaps.ts'
import { CONNECTIONS, storesOver, type Opened, type Subject } from './over.ts'

function more(subject: () => Promise<Subject<TransactionClient>>): void {
  lateStatements(subject, async (root, work) => {
    await (root as PrismaClient).$transaction(work)
  })

  test('a transaction that the application began adds messages until it ends', async () => {
    const { store, root, close } = await subject()
    const over = await (root as PrismaClient).$transaction(async (tx) => {
      expect(store.isTransaction(tx)).toBe(true)
      await store.outbox.add(tx, [draftOf({ id: 'a', key: 'k' })])
      return { tx }
    })
    await expect(store.outbox.add(over.tx, [draftOf()])).rejects.toMatchObject({ code: 'transaction_over' })
    expect(await dueIds(store)).toEqual(['a'])
    await close()
  })

  test('a client is no transaction, however it was extended; the transactions of an extended one are', async () => {
    const { store, root, close } = await subject()
    const extended = (root as PrismaClient).$extends({ client: { hello: () => 'hello' } })
    expect(store.isTransaction(root)).toBe(false)
    expect(store.isTransaction(extended)).toBe(false)
    await extended.$transaction((tx) => Promise.resolve(expect(store.isTransaction(tx)).toBe(true)))
    await close()
  })

  test('a transaction of another client is none of the store', async () => {
    const [one, other] = [await subject(), await subject()]
    await one.store.transaction((tx) => Promise.resolve(expect(other.store.isTransaction(tx)).toBe(false)))
    await one.close()
    await other.close()
  })
}

describe.skipIf(noPrisma !== null)(`a store over Prisma${noPrisma === null ? '' : `: ${noPrisma}`}`, () => {
  const generatedFor = (provider: 'sqlite' | 'postgresql') => {
    let generated: Generated
    beforeAll(() => {
      generated = generatePrisma(provider, CONNECTIONS)
    })
    afterAll(() => generated.remove())
    return (address: string): Promise<Opened<TransactionClient>> => {
      const prisma = generated.connect(address)
      return Promise.resolve({
        root: prisma,
        store: (options) => fromPrisma(prisma, options),
        run: (text) => prisma.$executeRawUnsafe(text),
        end: () => prisma.$disconnect(),
      })
    }
  }
  describe('with better-sqlite3', () => {
    storesOver('SQLite', generatedFor('sqlite'), more)
  })
  describe('with pg', () => {
    storesOver('PostgreSQL', generatedFor('postgresql'), (subject) => {
      more(subject)
      lostConnections(subject, async (tx) => {
        const [row] = await tx.$queryRawUnsafe<{ pid: number }[]>('select pg_backend_pid() as pid')
        return row!.pid
      })
    })
  })
})
