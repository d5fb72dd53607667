import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.util.Watch;
import java.io.IOException;
import java.util.Set;

/** Watch one ConfigMap with Watch of the official Java client; what it reads and prints: CONTRACT.md. */
public final class WatchProgram {
    // Without tcp-user-timeout: the JDK has no such socket option.
    private static final Set<String> PROFILES = Set.of(
            "default", "retry", "tcp-keepalive-os", "tcp-keepalive", "read-timeout", "watch-timeout", "bookmarks",
            "http2-ping");

    public static void main(String[] arguments) throws Exception {
        Program program = new Program(PROFILES);
        ApiClient client = program.client();
        CoreV1Api.APIlistNamespacedConfigMapRequest request = new CoreV1Api(client)
                .listNamespacedConfigMap(Program.NAMESPACE)
                .fieldSelector(Program.SELECTOR)
                .watch(true);
        if (program.profile.equals("watch-timeout")) {
            int seconds = (int) Program.number("WATCH_TIMEOUT");
            program.settings.put("watch_timeout_seconds", seconds);
            request.timeoutSeconds(seconds);
        }
        if (program.profile.equals("bookmarks")) {
            program.settings.put("bookmarks", true);
            request.allowWatchBookmarks(true);
        }
        boolean once = program.profile.equals("default");
        if (!once) {
            program.settings.put("retry_seconds", Program.number("RETRY_SECONDS"));
        }
        program.started();

        while (true) {
            try {
                watchOnce(client, request);
            } catch (ApiException | RuntimeException | IOException error) {
                if (once) {
                    error.printStackTrace();
                    System.exit(1); // threads of OkHttp's would go on for a minute
                }
                Program.emit("error", "message", error + (error.getCause() == null ? "" : ": " + error.getCause()));
            }
            if (once) {
                System.exit(0);
            }
            Thread.sleep(Math.round(Program.number("RETRY_SECONDS") * 1000));
        }
    }

    private static void watchOnce(ApiClient client, CoreV1Api.APIlistNamespacedConfigMapRequest request)
            throws ApiException, IOException {
        TypeToken<Watch.Response<V1ConfigMap>> type = new TypeToken<>() {};
        try (Watch<V1ConfigMap> watch = Watch.createWatch(client, request.buildCall(null), type.getType())) {
            Program.emit("watching");
            for (Watch.Response<V1ConfigMap> event : watch) {
                if (event.type.equals("ADDED") || event.type.equals("MODIFIED")) {
                    Program.observed(event.object);
                } else if (event.type.equals("ERROR")) {
                    throw new ApiException("the server ended the watch: " + event.status);
                }
            }
        }
        Program.emit("ended", "reason", "the stream ended");
    }
}
