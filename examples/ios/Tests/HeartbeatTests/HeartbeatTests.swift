// Golden samples of Python, through the Swift functions.
import XCTest

import Heartbeat

final class HeartbeatTests: XCTestCase {
    let samples: [Int16] = [
        792, 782, 780, 781, 781, 780, 777, 770, 766, 765, 764, 766, 765, 759, 754, 750, 751, 751, 747, 745, 743, 740,
        742, 743, 741, 740, 735, 732, 733, 730, 726, 724, 719, 716, 718, 715, 712, 711, 706, 709, 709, 711, 708, 704,
        701, 701, 702, 700, 700, 699, 700, 702, 707, 709, 713, 714, 716, 725, 732, 732, 737, 738, 746, 753, 1083, 1086,
        1086, 1087, 1087, 1088, 1091, 1089, 1095, 1091, 1092, 1091, 1089, 1091, 1090, 1088, 1087, 1085, 1087, 1092,
        1090, 1089, 1089, 1089, 1092, 1090, 1089, 1088, 1086, 1092, 1093, 1095, 1092, 1088, 1086, 1087, 1088, 1094,
        1095, 1093, 1091, 1091, 1092, 1096, 1099, 1104, 1105, 1111, 1115, 1119, 1124, 1133, 1144, 1156, 1173, 1185,
        1199, 1215, 1227, 1245, 1261, 1276, 1287, 1293, 1049, 1055, 1052, 1048, 1047, 1046, 1047, 1048, 1052, 1055,
        1055, 1055, 1056, 1061, 1060, 1059, 1059, 1061, 1056, 1053, 1045, 1046, 1048, 1055, 1069, 1083, 1097, 1111,
        1126, 1144, 1161, 1175, 1184, 1193, 1208, 1229, 1251, 1268, 1280, 1297, 1316, 1340, 1361, 1374, 1372, 1357,
        1343, 1334, 1325, 1317, 1312, 1314, 1316, 1320, 1323, 1326, 1324, 1319, 1310, 1305, 1297, 1277, 1249, 1206
    ]
    let codes: [UInt8] = [
        32, 69, 49, 62, 79, 54, 126, 191, 26, 22, 80, 21, 42, 208, 64, 44, 161, 159, 140, 71, 115, 74, 114, 170, 172,
        159, 153, 170, 168, 186, 156, 165, 185, 198, 84, 84, 57, 51, 102, 224, 214, 165, 178, 162, 185, 215, 179, 192
    ]
    let decoded: [Int16] = [
        788, 785, 785, 779, 779, 779, 776, 773, 770, 767, 764, 758, 758, 755, 758, 755, 752, 749, 743, 743, 743, 743,
        743, 743, 740, 737, 734, 730, 730, 727, 727, 721, 715, 715, 715, 715, 715, 715, 715, 715, 715, 715, 715, 715,
        715, 715, 715, 715, 715, 715, 715, 715, 715, 715, 715, 715, 721, 727, 734, 734, 740, 743, 749, 752, 1079, 1082,
        1085, 1088, 1088, 1088, 1091, 1091, 1094, 1094, 1094, 1091, 1091, 1088, 1088, 1088, 1085, 1088, 1088, 1088,
        1091, 1085, 1088, 1088, 1091, 1091, 1088, 1088, 1088, 1085, 1085, 1088, 1088, 1091, 1088, 1088, 1091, 1091,
        1091, 1091, 1094, 1091, 1091, 1094, 1091, 1094, 1100, 1106, 1112, 1121, 1130, 1139, 1145, 1157, 1173, 1185,
        1200, 1212, 1230, 1245, 1263, 1276, 1288, 1294, 1045, 1042, 1039, 1039, 1045, 1045, 1045, 1048, 1054, 1054,
        1051, 1054, 1058, 1061, 1067, 1067, 1064, 1061, 1054, 1048, 1045, 1045, 1048, 1058, 1070, 1085, 1100, 1115,
        1130, 1142, 1157, 1164, 1179, 1197, 1215, 1233, 1251, 1266, 1282, 1294, 1315, 1336, 1354, 1369, 1369, 1363,
        1351, 1336, 1321, 1315, 1312, 1312, 1318, 1321, 1324, 1321, 1321, 1321, 1312, 1300, 1279, 1257, 1242, 1221
    ]
    let lossy: [UInt8] = [
        137, 84, 65, 69, 1, 0, 2, 0, 128, 0, 0, 0, 53, 179, 203, 145, 81, 152, 50, 200, 63, 238, 203, 75, 167, 208, 36,
        195, 62, 51, 113, 216, 64, 193, 6, 152, 64, 98, 5, 25, 4, 89, 57, 183, 128, 182, 128, 166, 64, 228, 128, 176,
        64, 224, 117, 40, 136, 57, 214, 128, 59, 71, 115, 133, 185, 172, 245, 167, 224, 1, 20, 246, 70, 235, 31, 59,
        254, 35, 127, 20, 74, 202, 196, 94, 142, 85, 255, 132, 251, 221, 122, 128, 254, 223, 126, 167, 239, 2, 43, 1,
        28, 14, 0, 0, 0, 196, 122, 65, 70
    ]

    func testCodes() throws {
        XCTAssertEqual(try HeartbeatModel.encode(samples), codes)
        XCTAssertEqual(try HeartbeatModel.encode([]), [])
        XCTAssertThrowsError(try HeartbeatModel.encode(Array(samples.dropLast())))
    }

    func testDecodedSamples() throws {
        XCTAssertEqual(try HeartbeatModel.decode(codes), decoded)
        XCTAssertThrowsError(try HeartbeatModel.decode(Array(codes.dropLast())))
    }

    func testReconstruction() throws {
        XCTAssertEqual(try HeartbeatModel.reconstruct(samples), decoded)
    }

    func testFilesOfPython() throws {
        XCTAssertEqual(try HeartbeatModel.decompress(lossy), decoded)
    }

    func testDamagedFiles() throws {
        var damaged = lossy
        damaged[damaged.count / 2] ^= 1
        XCTAssertThrowsError(try HeartbeatModel.decompress(damaged))
        XCTAssertThrowsError(try HeartbeatModel.decompress(Array(lossy.dropLast())))
        XCTAssertEqual(try HeartbeatModel.recover(Array(lossy.dropLast())), decoded)
        XCTAssertThrowsError(try HeartbeatModel.recover([])) { XCTAssertEqual($0 as? HeartbeatModelError, .damaged) }
    }

    func testRoundTrips() throws {
        XCTAssertEqual(try HeartbeatModel.decompress(HeartbeatModel.compress(samples)), decoded)
        XCTAssertThrowsError(try HeartbeatModel.compress([]))
    }
}
