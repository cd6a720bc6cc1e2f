"""The six programs of RabbitMQ's tutorials in Python, one function each, as pika's users write them.

    python3 tutorials.py <amqp url> <number>     exits 0 and prints what was received, one line each
"""
import sys
import threading
import uuid

import pika

URL, NUMBER = sys.argv[1], sys.argv[2]
SUFFIX = uuid.uuid4().hex[:8]


def connect():
    return pika.BlockingConnection(pika.URLParameters(URL))


def collect(channel, queue, count, auto_ack=True):
    """Consumes until `count` messages have come, as start_consuming does."""
    received = []

    def callback(ch, method, _properties, body):
        received.append((method.routing_key, body.decode()))
        if not auto_ack:
            ch.basic_ack(delivery_tag=method.delivery_tag)
        if len(received) == count:
            ch.stop_consuming()

    channel.basic_consume(queue=queue, on_message_callback=callback, auto_ack=auto_ack)
    channel.start_consuming()
    return received


def hello_world():
    queue = 'hello-' + SUFFIX
    sending = connect()
    channel = sending.channel()
    channel.queue_declare(queue=queue)
    channel.basic_publish(exchange='', routing_key=queue, body='Hello World!')
    sending.close()
    receiving = connect()
    channel = receiving.channel()
    channel.queue_declare(queue=queue)
    for _, body in collect(channel, queue, 1):
        print(body)
    channel.queue_delete(queue)
    receiving.close()


def work_queues():
    queue = 'task_queue-' + SUFFIX
    boss = connect()
    channel = boss.channel()
    channel.queue_declare(queue=queue, durable=True)
    for number in range(4):
        channel.basic_publish(exchange='', routing_key=queue, body='task %d' % number,
                              properties=pika.BasicProperties(delivery_mode=2))
    dying = connect()
    first = dying.channel()
    first.basic_qos(prefetch_count=1)
    method, _, body = next(first.consume(queue))
    print('taken', body.decode(), method.redelivered)
    dying.close()
    worker = connect()
    second = worker.channel()
    second.basic_qos(prefetch_count=1)
    for _, body in collect(second, queue, 4, auto_ack=False):
        print(body)
    channel.queue_delete(queue)
    worker.close()
    boss.close()


def subscribe(exchange, exchange_type, keys):
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange=exchange, exchange_type=exchange_type, auto_delete=True)
    queue = channel.queue_declare(queue='', exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(exchange=exchange, queue=queue, routing_key=key)
    return connection, channel, queue


def routed(exchange_type, subscriptions, published):
    exchange = exchange_type + '_logs-' + SUFFIX
    subscribers = [(subscribe(exchange, exchange_type, keys), count) for keys, count in subscriptions]
    publisher = connect()
    channel = publisher.channel()
    for key in published:
        channel.basic_publish(exchange=exchange, routing_key=key, body=key or 'info')
    for (connection, consuming, queue), count in subscribers:
        print(' '.join(body for _, body in collect(consuming, queue, count)))
    publisher.close()
    for (connection, _, _), _ in subscribers:
        connection.close()


def publish_subscribe():
    routed('fanout', [([''], 1), ([''], 1)], [''])


def routing():
    routed('direct', [(['error'], 1), (['info', 'warning', 'error'], 3)], ['info', 'debug', 'error', 'warning'])


def topics():
    routed('topic', [(['kern.*'], 2), (['*.critical'], 2), (['#'], 4)],
           ['kern.critical', 'kern.info', 'cron.critical', 'anonymous.info'])


def remote_procedure_call():
    queue = 'rpc_queue-' + SUFFIX

    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    ready = threading.Event()

    def serve():
        connection = connect()
        channel = connection.channel()
        channel.queue_declare(queue=queue, auto_delete=True)
        channel.basic_qos(prefetch_count=1)
        ready.set()
        for method, properties, body in channel.consume(queue):
            channel.basic_publish(exchange='', routing_key=properties.reply_to,
                                  properties=pika.BasicProperties(correlation_id=properties.correlation_id),
                                  body=str(fibonacci(int(body))))
            channel.basic_ack(method.delivery_tag)
            if int(body) == 20:
                break
        connection.close()

    server = threading.Thread(target=serve)
    server.start()
    ready.wait()
    connection = connect()
    channel = connection.channel()
    callback_queue = channel.queue_declare(queue='', exclusive=True).method.queue
    for number in (10, 15, 20):
        correlation_id = str(uuid.uuid4())
        channel.basic_publish(exchange='', routing_key=queue, body=str(number),
                              properties=pika.BasicProperties(reply_to=callback_queue, correlation_id=correlation_id))
        for _, properties, body in channel.consume(callback_queue, auto_ack=True):
            if properties.correlation_id == correlation_id:
                print(number, body.decode())
                break
        channel.cancel()
    connection.close()
    server.join()


{
    '1': hello_world,
    '2': work_queues,
    '3': publish_subscribe,
    '4': routing,
    '5': topics,
    '6': remote_procedure_call,
}[NUMBER]()
