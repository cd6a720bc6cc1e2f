// What a deploy pipeline relies on: services are declared at a broker by their manifests, and get what was sent before they
// were ever started.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { command, event, service } from '@stathmos/sdk'
import { runAppCommand } from '@stathmos/sdk/cli'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { amqp, type AmqpOptions } from '@stathmos/sdk/transports/amqp'
import { expect } from 'vitest'
import { z } from 'zod'

/** @param name no other test at the broker has it */
export async function declaredBeforeTheFirstStart(name: string, options: AmqpOptions): Promise<void> {
  const Placed = event(`${name}.placed`, z.object({ id: z.string() })).key(({ id }) => id)
  const Invoice = command(`${name}.invoice`, z.object({ id: z.string() }))
  const directory = await mkdtemp(join(tmpdir(), 'stathmos-declared-'))
  try {
    const handled: string[] = []
    let done = (): void => {}
    const all = new Promise<void>((resolve) => (done = resolve))
    const handle = ({ id }: { id: string }): void => {
      if (handled.push(id) === 5) done()
    }
    const books = service(name, { store: memoryStore(), transport: amqp(options) })
      .on(Placed, { name: 'book', partitions: 4 }, handle)
      .on(Invoice, { name: 'invoice' }, handle)
    await writeFile(join(directory, 'books.json'), JSON.stringify(books.manifest()))
    await writeFile(join(directory, 'broker'), options.url)

    let said = ''
    const io = {
      cwd: directory,
      out: (text: string) => void (said += text),
      err: (text: string) => void (said += text),
    }
    const declare = ['declare', '--manifest', 'books.json', '--engine-file', 'broker']
    // A pipeline runs more than once.
    const codes = [await runAppCommand(declare, io), await runAppCommand(declare, io)]
    expect({ codes, said }).toMatchObject({ codes: [0, 0] })

    const shop = service('shop', { store: memoryStore(), transport: amqp(options.url), sends: [Placed, Invoice] })
    for (const id of ['o1', 'o2', 'o3', 'o4']) await shop.createMessage(Placed, { id })
    await shop.createMessage(Invoice, { id: 'i1' })
    await shop.drain()
    expect(await shop.register.count({ direction: 'out' })).toBe(0)
    await shop.stop()

    await books.start()
    await all
    await books.stop()
    expect(handled.toSorted()).toEqual(['i1', 'o1', 'o2', 'o3', 'o4'])
  } finally {
    await rm(directory, { recursive: true })
  }
}
