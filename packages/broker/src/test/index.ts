import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startBroker } from '../broker.ts'
import type { Settings } from '../config/options.ts'
import { defaultSettings } from '../config/settings.ts'
import { silentLog } from '../log/log.ts'

/** A broker inside the test's own process, with real ports and real files. */
export interface TestBroker {
  /** With the login in them, ready for a client. */
  readonly urls: { readonly amqp: string; readonly http: string }
  readonly dataDir: string
  /** Drains, stops, and removes the data directory unless the test brought its own. */
  stop(): Promise<void>
}

export interface TestBrokerOptions {
  /** Kept after {@link TestBroker.stop}, so that a test can start on the same data again. */
  readonly dataDir?: string
  readonly settings?: Partial<Settings>
}

/** Starts a broker on free ports in a fresh directory. Any number can run side by side. */
export async function startTestBroker({
  dataDir: given,
  settings: changes,
}: TestBrokerOptions = {}): Promise<TestBroker> {
  const dataDir = given ?? mkdtempSync(join(tmpdir(), 'stathmos-test-'))
  const remove = (): void => {
    if (given === undefined) rmSync(dataDir, { recursive: true, force: true })
  }
  const settings = defaultSettings({ ports: 'auto', drainTimeout: 1_000, ...changes, dataDir })
  try {
    const broker = await startBroker(settings, {
      log: silentLog,
      onFatal(error) {
        throw error
      },
    })
    const login = `${encodeURIComponent(settings.defaultUser)}:${encodeURIComponent(settings.defaultPassword)}@`
    return {
      urls: { amqp: broker.endpoints.amqp?.replace('://', `://${login}`) ?? '', http: broker.endpoints.http ?? '' },
      dataDir,
      async stop() {
        await broker.stop()
        remove()
      },
    }
  } catch (error) {
    remove()
    throw error
  }
}
