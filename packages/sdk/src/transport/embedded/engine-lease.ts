import { resolve } from 'node:path'
import type { Engine } from '@stathmos/engine'
import type { EnginePackage } from './peer.ts'

/** An engine, for as long as somebody needs it. */
export interface EngineLease {
  readonly engine: Engine
  release(): Promise<void>
}

interface Shared {
  readonly engine: Promise<Engine>
  users: number
}

/** By absolute directory. Two engines on one directory would destroy it, so that all of a process share one. */
const open = new Map<string, Shared>()

/** Closings under way: who opens the directory again waits for them. */
const closing = new Map<string, Promise<void>>()

/** Opens the directory's engine, or joins those that use it; it is closed when the last one lets go. */
export async function leaseEngine(
  { openEngine }: EnginePackage,
  directory: string,
  onFatal?: (error: Error) => void,
): Promise<EngineLease> {
  const dataDir = resolve(directory)
  await closing.get(dataDir)
  let shared = open.get(dataDir)
  if (shared === undefined) {
    shared = { engine: openEngine({ dataDir, ...(onFatal === undefined ? {} : { onFatal }) }), users: 0 }
    open.set(dataDir, shared)
  }
  const used = shared
  used.users++
  let engine: Engine
  try {
    engine = await used.engine
  } catch (error) {
    if (open.get(dataDir) === used) open.delete(dataDir)
    throw error
  }
  let released = false
  return {
    engine,
    async release() {
      if (released) return
      released = true
      if (--used.users > 0) return
      open.delete(dataDir)
      const closed = engine.close().finally(() => closing.delete(dataDir))
      closing.set(dataDir, closed)
      await closed
    },
  }
}
