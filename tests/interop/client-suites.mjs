// Runs the test suites of the client libraries themselves against Stathmos. They are not part of the npm packages and
// not of this repository; they are run from checkouts that somebody has made:
//
//   mkdir suites && cd suites && npm init -y && npm install tsx claire@0.4.1 vitest
//   git clone https://github.com/amqp-node/amqplib
//   git clone https://github.com/cody-greene/node-rabbitmq-client
//   git clone https://github.com/cloudamqp/amqp-client.js
//   node tests/interop/client-suites.mjs suites
//
// Some of their tests know only the default port, so 5672 must be free. `--peer rabbitmq` asks RabbitMQ instead.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { startRabbitmq } from '../../bench/peers/rabbitmq.mjs'
import { startStathmos } from '../../bench/peers/stathmos.mjs'

const URL = 'amqp://guest:guest@127.0.0.1:5672'
const NODE_TEST = ['--test', '--test-timeout=20000', '--test-reporter=tap']

const SUITES = [
  {
    name: 'amqplib',
    command: ['sh', '-c', `exec node ${NODE_TEST.join(' ')} test/*.test.js`],
    env: { URL },
    failed: tapFailures,
    expected: {
      'Connect > Connect API > ipv6': 'nothing listens on ::1',
      'Connect > Connect API > serverProperties': 'it looks for the product "RabbitMQ"; ours has its own name',
    },
  },
  {
    name: 'node-rabbitmq-client',
    command: ['sh', '-c', `exec node --import tsx ${NODE_TEST.join(' ')} test/*.ts`],
    env: { RABBITMQ_URL: URL },
    failed: tapFailures,
    expected: {
      'connection.onConnect: reject':
        'it wants a wrong password refused within 10 ms; a salted hash takes longer on purpose',
    },
  },
  {
    name: 'amqp-client.js',
    command: [
      'npx',
      'vitest',
      'run',
      '--reporter=json',
      'test/test.ts',
      'test/amqp-session.ts',
      'test/rpc.ts',
      'test/reconnect.ts',
    ],
    env: {},
    failed: vitestFailures,
    expected: {},
  },
]

const [dir, , peer] = process.argv.slice(2)
if (dir === undefined)
  throw new Error('usage: node tests/interop/client-suites.mjs <directory of checkouts> [--peer rabbitmq]')
const broker =
  peer === 'rabbitmq'
    ? await startRabbitmq({ port: 5672 })
    : await startStathmos({ args: ['--ports', 'fixed', '--amqp-port', '5672', '--http-port', 'auto'] })
let unexpected = 0
try {
  for (const { name, command, env, failed, expected } of SUITES) {
    const cwd = join(resolve(dir), name)
    if (!existsSync(cwd)) {
      console.log(`${name}: skipped, ${cwd} is missing`)
      continue
    }
    const { stdout } = spawnSync(command[0], command.slice(1), {
      cwd,
      env: { ...process.env, ...env },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    const { passed, failures } = failed(stdout)
    console.log(`${name}: ${passed} passed, ${failures.length} failed`)
    for (const failure of failures) {
      const reason = expected[failure]
      if (reason === undefined) unexpected++
      console.log(`  ${failure}: ${reason === undefined ? 'NOT EXPECTED' : `expected, ${reason}`}`)
    }
  }
} finally {
  await broker.stop()
}
process.exit(unexpected === 0 ? 0 : 1)

/** The tests, not the groups, that failed, with the groups that they are in. */
function tapFailures(tap) {
  const failures = []
  const path = []
  let passed = 0
  const lines = tap.split('\n')
  for (const [index, line] of lines.entries()) {
    const subtest = line.match(/^( *)# Subtest: (.*)$/)
    if (subtest) {
      path.length = subtest[1].length / 4
      path.push(subtest[2])
    }
    const result = line.match(/^( *)(not )?ok \d+ - (.*)$/)
    if (!result || / # (SKIP|TODO)/.test(line)) continue
    path.length = result[1].length / 4
    const suite = lines
      .slice(index, index + 20)
      .join('\n')
      .split('...')[0]
      .includes("type: 'suite'")
    if (suite) continue
    if (result[2]) failures.push([...path, result[3]].join(' > '))
    else passed++
  }
  return { passed, failures }
}

function vitestFailures(stdout) {
  const report = JSON.parse(stdout.slice(stdout.indexOf('{')))
  const failures = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
  )
  return { passed: report.numPassedTests, failures }
}
