import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import javax.net.SocketFactory;
import jdk.net.ExtendedSocketOptions;

/** OkHttp asks for sockets that are not connected yet, and no others. */
final class KeepaliveSockets extends SocketFactory {
    private final boolean numbers;

    KeepaliveSockets(boolean numbers) {
        this.numbers = numbers;
    }

    @Override
    public Socket createSocket() throws IOException {
        Socket socket = new Socket();
        socket.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
        if (numbers) {
            socket.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, (int) Program.number("KEEPALIVE_IDLE"));
            socket.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, (int) Program.number("KEEPALIVE_INTERVAL"));
            socket.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, (int) Program.number("KEEPALIVE_COUNT"));
        }
        return socket;
    }

    @Override
    public Socket createSocket(String host, int port) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Socket createSocket(String host, int port, InetAddress localHost, int localPort) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Socket createSocket(InetAddress host, int port) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Socket createSocket(InetAddress host, int port, InetAddress localHost, int localPort) {
        throw new UnsupportedOperationException();
    }
}
