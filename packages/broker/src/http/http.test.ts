import { afterEach, expect, test } from 'vitest'
import type { Health } from './health.ts'
import { openHttpServer, type HttpServer } from './server.ts'

let server: HttpServer
const health: { -readonly [Key in keyof Health]: Health[Key] } = { phase: 'ready', blocked: null }
afterEach(async () => {
  await server.close()
  Object.assign(health, { phase: 'ready', blocked: null })
})

async function get(path: string, method = 'GET'): Promise<[number, string]> {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
  return [response.status, await response.text()]
}

test.each([
  ['starting', 200, 503, 503],
  ['recovering', 200, 503, 503],
  ['ready', 200, 200, 200],
  ['draining', 200, 200, 503],
] as const)('while %s: alive %i, started %i, ready %i', async (phase, alive, started, ready) => {
  server = await openHttpServer('127.0.0.1', 0, health)
  health.phase = phase
  expect((await get('/livez'))[0]).toBe(alive)
  expect((await get('/startupz'))[0]).toBe(started)
  expect((await get('/readyz?verbose'))[0]).toBe(ready)
})

test('a broker that has stopped taking messages is not ready and says why', async () => {
  server = await openHttpServer('127.0.0.1', 0, health)
  health.blocked = 'disk'
  expect(await get('/readyz')).toEqual([503, 'publishers wait: disk\n'])
})

test('other paths are not found, and health is only read', async () => {
  server = await openHttpServer('127.0.0.1', 0, health)
  expect((await get('/'))[0]).toBe(404)
  expect((await get('/livez', 'POST'))[0]).toBe(405)
  expect(await get('/livez', 'HEAD')).toEqual([200, ''])
})
