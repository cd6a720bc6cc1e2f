// Planted: everything that tidy.test.ts forbids. TODO without an end.
export const moment = Date.now()
export const today = new Date()
export const chance = Math.random()
setTimeout(() => {}, 1)
export const amqpWord = 'amqp'
