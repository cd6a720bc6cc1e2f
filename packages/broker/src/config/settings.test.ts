import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readSettingsFile } from './settings-file.ts'
import { resolveSettings, shown } from './settings.ts'

const directory = mkdtempSync(join(tmpdir(), 'stathmos-settings-'))
afterAll(() => rmSync(directory, { recursive: true }))

function file(text: string): Promise<NonNullable<Awaited<ReturnType<typeof readSettingsFile>>>> {
  const path = join(directory, 'stathmos.yaml')
  writeFileSync(path, text)
  return readSettingsFile(path).then((found) => found!)
}

test('without anything said every option has its default, and says so', () => {
  const { settings, origins } = resolveSettings({})
  expect(settings.amqpPort).toBe(5672)
  expect(settings.host).toBe('127.0.0.1')
  expect(new Set(Object.values(origins))).toEqual(new Set(['default']))
})

test('flags win over the environment, the environment over the file, the file over the defaults', async () => {
  const given = await file('host: 10.0.0.1\namqp-port: 1001\nhttp-port: 1002\n')
  const environment = { STATHMOS_AMQP_PORT: '2001', STATHMOS_HTTP_PORT: '2002', HOME: '/' }
  const { settings, origins } = resolveSettings({ flags: { httpPort: '3002' }, environment, file: given })
  expect([settings.host, settings.amqpPort, settings.httpPort, settings.portOffset]).toEqual([
    '10.0.0.1',
    2001,
    3002,
    0,
  ])
  expect(origins).toMatchObject({
    host: given.path,
    amqpPort: 'STATHMOS_AMQP_PORT',
    httpPort: '--http-port',
    portOffset: 'default',
  })
})

test('ports take auto and off', () => {
  const { settings } = resolveSettings({ flags: { amqpPort: 'auto', httpPort: 'off' } })
  expect([settings.amqpPort, settings.httpPort]).toEqual(['auto', 'off'])
})

test('sizes and times are written with their units', async () => {
  const { settings } = resolveSettings({
    file: await file('max-message-bytes: 2MiB\nlogin-timeout: 500ms\ndrain-timeout: 3s\n'),
  })
  expect([settings.maxMessageBytes, settings.loginTimeout, settings.drainTimeout]).toEqual([2 * 1024 * 1024, 500, 3000])
})

test.each([
  [{ amqpPort: '70000' }, '--amqp-port is "70000"; it must be a port from 1 to 65535, auto or off'],
  [{ portOffset: '-1' }, '--port-offset is "-1"; it must be a whole number from 0 to 60000'],
  [{ ports: 'random' }, '--ports is "random"; it must be one of fixed, auto'],
  [{ host: ' ' }, '--host is " "; it must be a text that is not empty'],
  [{ drainTimeout: '1m' }, '--drain-timeout is "1m"; it must be a time from 0s to 13s, such as 500ms or 10s'],
  [{ loginTimeout: '10' }, '--login-timeout is "10"; it must be a time from 100ms to 10m, such as 500ms or 10s'],
])('a value that an option cannot take is refused with what it takes: %j', (flags, message) => {
  expect(() => resolveSettings({ flags })).toThrow(message)
})

test('a mistyped key of the file is an error that says what was meant', async () => {
  const given = await file('amqp-prot: 5673\n')
  expect(() => resolveSettings({ file: given })).toThrow(
    /^amqp-prot in .*stathmos\.yaml is no setting of Stathmos; did you mean amqp-port\?$/,
  )
})

test('a mistyped variable is an error that says what was meant', () => {
  const environment = { STATHMOS_DATADIR: '/data' }
  expect(() => resolveSettings({ environment })).toThrow(
    'STATHMOS_DATADIR is no setting of Stathmos; did you mean STATHMOS_DATA_DIR?',
  )
})

test('variables that Kubernetes makes for a service named stathmos are not taken for settings', () => {
  const environment = {
    STATHMOS_SERVICE_HOST: '10.0.0.1',
    STATHMOS_SERVICE_PORT_AMQP: '5672',
    STATHMOS_PORT: 'tcp://10.0.0.1:5672',
    STATHMOS_PORT_5672_TCP_ADDR: '10.0.0.1',
    STATHMOS_AMQP_PORT: 'tcp://10.0.0.1:5672',
  }
  const { settings } = resolveSettings({ environment })
  expect(settings.amqpPort).toBe(5672)
})

test('a key that resembles nothing gets no suggestion', async () => {
  const given = await file('colour: blue\n')
  expect(() => resolveSettings({ file: given })).toThrow(/is no setting of Stathmos$/)
})

test('a list where one value belongs is refused', async () => {
  const given = await file('host: [a, b]\n')
  expect(() => resolveSettings({ file: given })).toThrow('it must be a single value')
})

test('a file that is no mapping, or no YAML, is refused by its name', async () => {
  await expect(file('- a\n- b\n')).rejects.toThrow(/stathmos\.yaml must hold lines/)
  await expect(file('a: [\n')).rejects.toThrow(/stathmos\.yaml is not valid YAML/)
})

test('a file that was named must be there; the usual one may be missing', async () => {
  await expect(readSettingsFile(join(directory, 'missing.yaml'))).rejects.toThrow(/missing\.yaml cannot be read/)
})

test('a secret is never shown', () => {
  const { settings } = resolveSettings({ environment: { STATHMOS_DEFAULT_PASSWORD: 'hunter2' } })
  expect(settings.defaultPassword).toBe('hunter2')
  expect(shown('defaultPassword', settings)).toBe('***')
})
