import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.DelegateToFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * The local file system of a NodeManager, with permissions set by Java.
 *
 * A Hadoop release sets them through its native library. The jars of Maven Central come without it, and start the
 * program chmod for each file instead: minutes for an archive of some thousand files, which a release unpacks in seconds.
 */
public final class QuickLocalFs extends DelegateToFileSystem {
    public QuickLocalFs(URI uri, Configuration configuration) throws Exception {
        super(uri, new QuickRaw(), configuration, "file", false);
    }

    @Override
    public int getUriDefaultPort() {
        return -1;
    }

    private static final class QuickRaw extends RawLocalFileSystem {
        @Override
        public void setPermission(Path path, FsPermission permission) throws IOException {
            if (permission.getStickyBit()) {
                super.setPermission(path, permission);
                return;
            }
            StringBuilder letters = new StringBuilder();
            letters.append(permission.getUserAction().SYMBOL);
            letters.append(permission.getGroupAction().SYMBOL);
            letters.append(permission.getOtherAction().SYMBOL);
            Files.setPosixFilePermissions(
                pathToFile(path).toPath(), PosixFilePermissions.fromString(letters.toString()));
        }
    }
}
