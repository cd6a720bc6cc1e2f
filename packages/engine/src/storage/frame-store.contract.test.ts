import { seededRandom } from '@stathmos/std'
import { frameStoreContract, MemoryFiles } from '@stathmos/testkit'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import type { Files } from './files.ts'
import { LocalFrameStore } from './local-frame-store.ts'
import { nodeFiles } from './node-files.ts'

const limits = { fileBytes: 16 * 1024, blockBytes: 1024, reserveBytes: 0, openFilesMax: 4 }

function subject(files: Files, directory: string) {
  const random = seededRandom(1)
  return {
    async open(table: Parameters<(typeof LocalFrameStore)['open']>[0]['table']) {
      await files.makeDirectory(directory)
      return LocalFrameStore.open({ files, directory, random, limits, table })
    },
  }
}

describe.each(frameStoreContract)('$name', ({ run }) => {
  test('in memory', () => run(subject(new MemoryFiles(), '/data')))

  test('in files', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'frames-'))
    try {
      await run(subject(nodeFiles, directory))
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
