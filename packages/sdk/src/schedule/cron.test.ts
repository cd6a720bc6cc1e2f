import { expect, test, vi } from 'vitest'
import { loadCron } from './cron.ts'

test('occurrences are later than the time that is asked with, or earlier', async () => {
  const cron = (await loadCron())('0 3 * * *', 'Europe/Moscow', 'report')
  const at = Date.parse('2026-03-01T00:00:00Z')
  const dayMs = 86_400_000
  expect([cron.next(at - 1), cron.next(at), cron.previous(at), cron.previous(at + 1)]).toEqual([
    at,
    at + dayMs,
    at - dayMs,
    at,
  ])
})

test('a croner that cannot be loaded is told, with what to install', async () => {
  vi.doMock('croner', () => {
    throw new Error('it fits another Node')
  })
  vi.resetModules()
  const { loadCron: load } = await import('./cron.ts')
  await expect(load()).rejects.toMatchObject({ code: 'peer_unusable', message: expect.stringContaining('npm install') })
  vi.doUnmock('croner')
})
