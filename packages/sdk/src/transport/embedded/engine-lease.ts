import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Engine } from '@stathmos/engine'
import type { Clock } from '../../time/clock.ts'
import type { EnginePackage } from './peer.ts'

/** An engine, for as long as somebody needs it. */
export interface EngineLease {
  readonly engine: Engine
  release(): Promise<void>
}

interface Shared {
  readonly opened: Promise<Locked>
  users: number
}

/** An engine and the lock of its directory. */
interface Locked {
  readonly engine: Engine
  close(): Promise<void>
}

/** By absolute directory. Two engines on one directory would destroy it, so that all of a process share one. */
const open = new Map<string, Shared>()

/** Closings under way: who opens the directory again waits for them. */
const closing = new Map<string, Promise<void>>()

/**
 * Opens the directory's engine, or joins those of this process that use it; it is closed when the last one lets go.
 *
 * @throws {DirectoryInUseError} when another process has it
 */
export async function leaseEngine(
  { openEngine, lockDirectory }: EnginePackage,
  directory: string,
  clock: Clock,
  onFatal?: (error: Error) => void,
): Promise<EngineLease> {
  const dataDir = resolve(directory)
  await closing.get(dataDir)
  let shared = open.get(dataDir)
  if (shared === undefined) {
    shared = { opened: openLocked({ openEngine, lockDirectory }, dataDir, clock, onFatal), users: 0 }
    open.set(dataDir, shared)
  }
  const used = shared
  used.users++
  let opened: Locked
  try {
    opened = await used.opened
  } catch (error) {
    if (open.get(dataDir) === used) open.delete(dataDir)
    throw error
  }
  let released = false
  return {
    engine: opened.engine,
    async release() {
      if (released) return
      released = true
      if (--used.users > 0) return
      open.delete(dataDir)
      const closed = opened.close().finally(() => closing.delete(dataDir))
      closing.set(dataDir, closed)
      await closed
    },
  }
}

/** The lock comes before the engine and goes after it, so that nobody ever reads what another one writes. */
async function openLocked(
  { openEngine, lockDirectory }: Pick<EnginePackage, 'openEngine' | 'lockDirectory'>,
  dataDir: string,
  clock: Clock,
  onFatal?: (error: Error) => void,
): Promise<Locked> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(dataDir, clock)
  try {
    const engine = await openEngine({ dataDir, ...(onFatal === undefined ? {} : { onFatal }) })
    const close = async (): Promise<void> => {
      try {
        await engine.close()
      } finally {
        await lock.release()
      }
    }
    return { engine, close }
  } catch (error) {
    await lock.release()
    throw error
  }
}
