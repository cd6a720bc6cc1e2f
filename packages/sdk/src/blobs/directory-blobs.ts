import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SdkError } from '../errors.ts'
import { BLOB_KEY, type Blobs } from './blobs.ts'

/** What is being written, or taken away, until it has its name or is gone. */
const UNFINISHED = '.part'

/**
 * Bodies as files below a directory that all services share: `<first two digits>/<key>`. A file has its name only once it
 * is whole and on the disk. Its age is that of its last put, by the clock of the file system.
 *
 * @param directory is made with the first body
 */
export function directoryBlobs(directory: string): Blobs {
  const placeOf = (key: string): { readonly shelf: string; readonly file: string } => {
    // A key is a part of a path, and comes from a message.
    if (!BLOB_KEY.test(key)) throw new SdkError('malformed_message', 'the key of a body is no SHA-256 in hexadecimal')
    const shelf = join(directory, key.slice(0, 2))
    return { shelf, file: join(shelf, key) }
  }
  return {
    async put(key, bytes) {
      const { shelf, file } = placeOf(key)
      await mkdir(shelf, { recursive: true })
      const part = join(shelf, `${key}.${randomUUID()}${UNFINISHED}`)
      try {
        await written(part, bytes)
        await rename(part, file)
      } catch (error) {
        await rm(part, { force: true })
        throw error
      }
      await synced(shelf)
      // Its own name, if it is new.
      await synced(directory)
    },
    async get(key) {
      const { file } = placeOf(key)
      return unlessMissing(readFile(file))
    },
    async prune(before) {
      let pruned = 0
      for (const shelf of (await unlessMissing(readdir(directory))) ?? []) {
        if (!/^[0-9a-f]{2}$/.test(shelf)) continue
        const names = (await unlessMissing(readdir(join(directory, shelf)))) ?? []
        for (const name of names) if (await prunedOne(join(directory, shelf), name, before)) pruned++
      }
      return pruned
    },
  }
}

/** @returns whether a body was deleted; what a crash left unfinished is none */
async function prunedOne(shelf: string, name: string, before: number): Promise<boolean> {
  const file = join(shelf, name)
  if (!(await isOlder(file, before))) return false
  if (name.endsWith(UNFINISHED)) {
    await rm(file, { force: true })
    return false
  }
  if (!BLOB_KEY.test(name)) return false
  // Somebody may put it anew this moment. Away from its name it is looked at again, and then nobody can change it.
  const part = join(shelf, `${name}.${randomUUID()}${UNFINISHED}`)
  if ((await unlessMissing(rename(file, part).then(() => true))) === null) return false
  const isOld = await isOlder(part, before)
  if (!isOld) await link(part, file).catch(unlessCode('EEXIST'))
  await rm(part, { force: true })
  return isOld
}

async function isOlder(file: string, before: number): Promise<boolean> {
  const found = await unlessMissing(stat(file))
  return found !== null && found.isFile() && found.mtimeMs < before
}

async function written(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx')
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Has names survive a crash, where the platform can. */
async function synced(directory: string): Promise<void> {
  const handle = await open(directory, 'r').catch(unlessCode('EISDIR', 'EPERM'))
  if (handle === null) return
  try {
    await handle.sync().catch(unlessCode('EPERM', 'EINVAL'))
  } finally {
    await handle.close()
  }
}

async function unlessMissing<T>(reading: Promise<T>): Promise<T | null> {
  return reading.catch(unlessCode('ENOENT'))
}

function unlessCode(...codes: readonly string[]): (error: unknown) => null {
  return (error) => {
    if (codes.includes((error as { readonly code?: string }).code ?? '')) return null
    throw error
  }
}
