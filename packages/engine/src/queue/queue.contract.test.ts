import { systemClock } from '@stathmos/std'
import { draftOf, Inbox, MemoryFiles, queueContract, type QueueSubject } from '@stathmos/testkit'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { type Files, nodeFiles, openEngine } from '../index.ts'

/** Runs on the real clock, as the disk of this machine does. */
async function withEngine(files: Files, dataDir: string, use: (subject: QueueSubject) => Promise<void>): Promise<void> {
  const open = () => openEngine({ dataDir, files, limits: { reserveBytes: 0, diskFreeMin: 0 } })
  let engine = await open()
  const vhost = () => engine.vhost('/')!
  await use({
    queue(name, settings = {}) {
      const definition = { name, durable: true, exclusive: false, autoDelete: false, opaque: '' }
      return vhost().declareQueue({ ...definition, settings: { overflow: 'drop-head', ...settings } }, null).queue
    },
    publish: (queue, text, options) => vhost().publish(vhost().route('', queue)!, draftOf(text, options)),
    inbox: () => new Inbox(engine),
    async settled() {
      await engine.durably()
      await new Promise<void>((resolve) => {
        systemClock.soon(() => systemClock.soon(resolve))
      })
    },
    async reopen() {
      await engine.close()
      engine = await open()
    },
  })
  await engine.close()
}

describe.each(queueContract)('$name', ({ run }) => {
  test('in memory', () => withEngine(new MemoryFiles(), '/data', run))

  test('in files', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'queue-'))
    try {
      await withEngine(nodeFiles, directory, run)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
