"""What pika's users rely on beyond the tutorials, one function each.

    python3 features.py <amqp url> <name>     exits 0 when everything was as it should be
"""
import sys
import uuid

import pika
from pika import exceptions

URL, NAME = sys.argv[1], sys.argv[2]
SUFFIX = uuid.uuid4().hex[:8]


def connect(**overrides):
    parameters = pika.URLParameters(URL)
    for name, value in overrides.items():
        setattr(parameters, name, value)
    return pika.BlockingConnection(parameters)


def queue_of(channel, **arguments):
    return channel.queue_declare(queue='', exclusive=True, **arguments).method.queue


def confirms_and_returns():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    queue = queue_of(channel)
    for number in range(50):
        channel.basic_publish('', queue, str(number), pika.BasicProperties(delivery_mode=2), mandatory=True)
    assert channel.queue_declare(queue, passive=True).method.message_count == 50
    try:
        channel.basic_publish('', 'nobody-' + SUFFIX, 'lost', mandatory=True)
    except exceptions.UnroutableError as error:
        assert error.messages[0].body == b'lost', error
    else:
        raise AssertionError('an unroutable message was not returned')
    connection.close()


def nack_on_overflow():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    queue = queue_of(channel, arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'})
    channel.basic_publish('', queue, 'first')
    try:
        channel.basic_publish('', queue, 'second')
    except exceptions.NackError:
        pass
    else:
        raise AssertionError('a message above the limit was not nacked')
    connection.close()


def properties_round_trip():
    connection = connect()
    channel = connection.channel()
    queue = queue_of(channel)
    sent = pika.BasicProperties(content_type='text/plain', content_encoding='utf-8', delivery_mode=2, priority=3,
                                headers={'text': 'naïve', 'int': -7, 'big': 2 ** 40, 'yes': True, 'none': None,
                                         'list': [1, 'a', {'deep': [True]}], 'table': {'a': {'b': 1}},
                                         'bytes': b'\x00\xff'},
                                correlation_id='c', reply_to='r', expiration='60000', message_id='m',
                                timestamp=1700000000, type='t', user_id='guest', app_id='a')
    channel.basic_publish('', queue, b'\x00\x01body', sent)
    _, received, body = channel.basic_get(queue, auto_ack=True)
    assert body == b'\x00\x01body', body
    for name in ('content_type', 'content_encoding', 'delivery_mode', 'priority', 'headers', 'correlation_id', 'reply_to',
                 'expiration', 'message_id', 'timestamp', 'type', 'user_id', 'app_id'):
        assert getattr(received, name) == getattr(sent, name), (name, getattr(received, name))
    connection.close()


def transactions():
    connection = connect()
    channel = connection.channel()
    queue = queue_of(channel)
    channel.tx_select()
    channel.basic_publish('', queue, 'rolled back')
    channel.tx_rollback()
    channel.basic_publish('', queue, 'committed')
    channel.tx_commit()
    assert channel.basic_get(queue, auto_ack=True)[2] == b'committed'
    assert channel.basic_get(queue, auto_ack=True) == (None, None, None)
    connection.close()


def dead_letters():
    connection = connect()
    channel = connection.channel()
    dead = queue_of(channel)
    queue = queue_of(channel, arguments={'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead})
    channel.basic_publish('', queue, 'bad')
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    for method, properties, body in channel.consume(dead, auto_ack=True, inactivity_timeout=5):
        assert body == b'bad', body
        assert properties.headers['x-death'][0]['reason'] == 'rejected', properties.headers
        break
    connection.close()


def requeue_and_redelivered():
    connection = connect()
    channel = connection.channel()
    queue = queue_of(channel)
    for number in range(3):
        channel.basic_publish('', queue, str(number))
    method, _, _ = channel.basic_get(queue)
    channel.basic_nack(method.delivery_tag, requeue=True)
    seen = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [body for _, _, body in seen] == [b'0', b'1', b'2'], seen
    assert [method.redelivered for method, _, _ in seen] == [True, False, False], seen
    connection.close()


def errors_close_the_channel():
    connection = connect()
    channel = connection.channel()
    try:
        channel.queue_declare('missing-' + SUFFIX, passive=True)
    except exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404, error
    channel = connection.channel()
    queue = 'same-' + SUFFIX
    channel.queue_declare(queue, exclusive=True)
    try:
        channel.queue_declare(queue, exclusive=True, arguments={'x-message-ttl': 1})
    except exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 406 and 'inequivalent arg' in error.reply_text, error
    assert connection.is_open
    connection.close()


def wrong_password():
    try:
        connect(credentials=pika.PlainCredentials('guest', 'wrong'))
    except exceptions.ProbableAuthenticationError:
        return
    except exceptions.AMQPConnectionError as error:
        assert 'ACCESS_REFUSED' in repr(error), repr(error)
        return
    raise AssertionError('a wrong password was let in')


def missing_vhost():
    try:
        connect(virtual_host='nowhere')
    except exceptions.ConnectionClosedByBroker as error:
        assert error.reply_code == 530, error
        return
    except exceptions.AMQPConnectionError as error:
        assert 'NOT_ALLOWED' in repr(error) or isinstance(error, exceptions.ProbableAccessDeniedError), repr(error)
        return
    raise AssertionError('a virtual host that does not exist was opened')


def consumer_cancelled_by_the_broker():
    connection = connect()
    channel = connection.channel()
    queue = 'doomed-' + SUFFIX
    channel.queue_declare(queue)
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    channel.basic_consume(queue, lambda *_: None)
    connect().channel().queue_delete(queue)
    for _ in range(100):
        connection.process_data_events(time_limit=0.05)
        if cancelled:
            break
    assert cancelled, 'no basic.cancel came'
    connection.close()


def large_bodies():
    connection = connect()
    channel = connection.channel()
    queue = queue_of(channel)
    for size in (0, 1, 131064, 131065, 1_000_000):
        channel.basic_publish('', queue, b'x' * size)
        assert channel.basic_get(queue, auto_ack=True)[2] == b'x' * size, size
    connection.close()


def direct_reply_to():
    connection = connect()
    channel = connection.channel()
    requests = queue_of(channel)
    replies = []
    channel.basic_consume('amq.rabbitmq.reply-to', lambda _c, _m, _p, body: replies.append(body), auto_ack=True)
    channel.basic_publish('', requests, 'ping', pika.BasicProperties(reply_to='amq.rabbitmq.reply-to'))
    _, properties, _ = channel.basic_get(requests, auto_ack=True)
    channel.basic_publish('', properties.reply_to, 'pong')
    for _ in range(100):
        connection.process_data_events(time_limit=0.05)
        if replies:
            break
    assert replies == [b'pong'], replies
    connection.close()


globals()[NAME]()
