import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Where a running broker is reached. A listener that is off is missing. */
export interface Endpoints {
  readonly amqp?: string
  readonly http?: string
}

function fileIn(dataDir: string): string {
  return join(dataDir, 'endpoints.json')
}

/** Tells other programs where the broker is. A reader sees the whole file or none, after a power cut too. */
export function writeEndpoints(dataDir: string, pid: number, endpoints: Endpoints): void {
  const unfinished = `${fileIn(dataDir)}.new`
  const file = openSync(unfinished, 'w', 0o600)
  writeSync(file, `${JSON.stringify({ pid, ...endpoints })}\n`)
  fsyncSync(file)
  closeSync(file)
  renameSync(unfinished, fileIn(dataDir))
}

/** Removes what this or a killed broker has written. */
export function removeEndpoints(dataDir: string): void {
  rmSync(fileIn(dataDir), { force: true })
}

/** A URL of a listener. An address that stands for all addresses is reached by the loopback one. */
export function endpointUrl(scheme: string, address: string, port: number): string {
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
